//! Files and the environment: where the configuration is, secrets in files, keys read again.

use std::fs;

use super::*;

fn none(_: &str) -> Option<String> {
    None
}

/// The first problem of loading `file`, with the folder cut off.
#[track_caller]
fn refusal(folder: &Path, file: &str) -> String {
    let problems = load(&folder.join(file), &env).expect_err("this file should be refused");
    listed(&problems).replace(&folder.display().to_string(), "DIR")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[track_caller]
fn write(folder: &Path, file: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(file), content).expect("a temporary file can be written");
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let dir = folder();
    fs::create_dir(dir.path().join("sub")).expect("a folder can be made");
    write(dir.path(), "latin1.yaml", b"mode: \xe9\n");
    insta::assert_snapshot!(refusal(dir.path(), "missing.yaml"), @"DIR/missing.yaml: cannot read it: there is no such file");
    insta::assert_snapshot!(refusal(dir.path(), "sub"), @"DIR/sub: it is a directory; wanted a file, such as `DIR/sub/farthing.yaml`");
    insta::assert_snapshot!(refusal(dir.path(), "latin1.yaml"), @"DIR/latin1.yaml: cannot read it: it is not UTF-8 text");
}

#[test]
fn a_secret_file_loses_one_line_end_and_starts_at_the_configurations_folder() {
    let dir = folder();
    let key_row = |path: &str| {
        format!(
            "providers:\n  x: {{ protocol: openai, base_url: https://x.example, models: [m], key: 'file:{path}' }}\n"
        )
    };
    write(dir.path(), "farthing.yaml", key_row("secret"));
    for (content, expected) in [("sk-a\n", "sk-a"), ("sk-a\r\n", "sk-a"), ("sk-a", "sk-a")] {
        write(dir.path(), "secret", content);
        let config = load(&dir.path().join("farthing.yaml"), &env).expect("the file is good");
        assert_eq!(
            config.providers[0].access().credential.secrets().next().map(Secret::reveal),
            Some(expected),
            "{content:?}"
        );
    }
    write(dir.path(), "secret", "sk-a\n\n");
    insta::assert_snapshot!(refusal(dir.path(), "farthing.yaml"), @"DIR/farthing.yaml:2:73: `key`: file `DIR/secret` holds a line break, surrounding space or other characters that no header can carry; wanted printable ASCII");
    write(dir.path(), "secret", "\n");
    insta::assert_snapshot!(refusal(dir.path(), "farthing.yaml"), @"DIR/farthing.yaml:2:73: `key`: file `DIR/secret` is empty; wanted a secret");
    write(dir.path(), "farthing.yaml", key_row("."));
    insta::assert_snapshot!(refusal(dir.path(), "farthing.yaml"), @"DIR/farthing.yaml:2:73: `key`: file `DIR/.` is a directory; wanted a file");
}

#[test]
fn relative_paths_start_at_the_files_folder_and_absolute_ones_stay() {
    let config = good("ledger: { path: data/l.db }\nprices: /srv/prices.yaml\n");
    assert_eq!(config.ledger.path, Path::new("/etc/farthing/data/l.db"));
    assert_eq!(config.prices.as_deref(), Some(Path::new("/srv/prices.yaml")));
    assert_eq!(good("").ledger.path, Path::new("/etc/farthing/farthing.db"));
}

#[test]
fn the_explicit_file_beats_the_variable_which_beats_the_working_directory() {
    let dir = folder();
    let variable = |name: &str| (name == FILE_VARIABLE).then(|| "named.yaml".to_owned());
    let empty = |name: &str| (name == FILE_VARIABLE).then(String::new);
    let at = |file: &str| Some(dir.path().join(file));
    assert_eq!(find(Some(Path::new("given.yaml")), &variable, dir.path()), at("given.yaml"));
    assert_eq!(find(Some(Path::new("/etc/f.yaml")), &variable, dir.path()), Some(PathBuf::from("/etc/f.yaml")));
    assert_eq!(find(None, &variable, dir.path()), at("named.yaml"));
    assert_eq!(find(None, &empty, dir.path()), None);
    write(dir.path(), FILE_NAME, "");
    assert_eq!(find(None, &none, dir.path()), at(FILE_NAME));
}

#[test]
fn without_a_file_the_environment_makes_openai_and_three_tiers() {
    let config = from_environment(&env).unwrap_or_else(|problems| panic!("{}", listed(&problems)));
    assert_eq!(config.providers[0].access().credential.secrets().next().map(Secret::reveal), Some("sk-hidden"));
    assert_eq!(config.ledger.path, Path::new("farthing.db"));
    let models = crate::task::Tier::ALL.map(|tier| config.tiers.models(tier)[0].model.to_string());
    assert_eq!(models, ["gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna"]);
}

#[test]
fn the_books_are_found_without_any_secret() {
    let dir = folder();
    let file = dir.path().join(FILE_NAME);
    let row = "providers: { x: { protocol: openai, base_url: https://x.example, models: [m], key: env:NOT_SET } }\n";
    write(dir.path(), FILE_NAME, format!("server: {{ admin_key: file:gone }}\nledger: {{ path: l.db }}\n{row}"));
    load(&file, &none).expect_err("the gateway needs them");
    let books = load_bookkeeping(Some(&file)).expect("the ledger does not");
    assert_eq!((books.ledger.path, books.providers), (dir.path().join("l.db"), vec!["x".to_owned()]));
    assert_eq!(load_bookkeeping(None).expect("nothing is needed").ledger.path, Path::new("farthing.db"));
    write(dir.path(), FILE_NAME, format!("ledger: {{ path: l.db, mirror: env:NOT_SET }}\n{row}"));
    load_bookkeeping(Some(&file)).expect("nobody asks the mirror");
    let keys = load_keyholding(Some(&file)).expect("nor do keys and budgets need it");
    assert_eq!(keys.ledger.path, dir.path().join("l.db"));
    write(dir.path(), FILE_NAME, "ledger: { path: '' }\n");
    let problems = load_bookkeeping(Some(&file)).expect_err("that is no file");
    let told = listed(&problems).replace(&dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!(told, @"DIR/farthing.yaml:1:17: `path` is ``; wanted the path of a file");
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    write(dir.path(), FILE_NAME, "ledger: { path: data }\n");
    let problems = load_bookkeeping(Some(&file)).expect_err("that is a folder");
    let told = listed(&problems).replace(&dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!(told, @"DIR/farthing.yaml:1:17: `path` is `data`; wanted a file, such as `data/farthing.db`, and this is a folder");
}

#[test]
fn without_file_and_key_the_message_points_to_the_demo() {
    insta::assert_snapshot!(listed(&from_environment(&none).expect_err("there is no key")), @"environment: there is no `farthing.yaml` here and `OPENAI_API_KEY` is not set; wanted one of them; `farthing demo` runs without either");
    let broken = |_: &str| Some("sk-hidden\n".to_owned());
    insta::assert_snapshot!(listed(&from_environment(&broken).expect_err("the key is broken")), @"environment: `key`: environment variable `OPENAI_API_KEY` holds a line break, surrounding space or other characters that no header can carry; wanted printable ASCII");
}

#[test]
fn keys_are_read_again_without_a_restart() {
    let dir = folder();
    write(dir.path(), FILE_NAME, format!("keys: [ {{ sha256: {HASH}, team: ops }} ]\n{A_PROVIDER}"));
    let (keys, payers) = load_keys(&dir.path().join(FILE_NAME), 0, &env).expect("the file is good");
    assert_eq!(keys[0].id.as_str(), &HASH[..12]);
    assert!(payers.teams.is_empty());
}

#[test]
fn keys_that_would_open_a_door_are_not_taken_over() {
    let dir = folder();
    let file = dir.path().join(FILE_NAME);
    let again = |text: &str, running: &Config| {
        fs::write(&file, format!("{text}{A_PROVIDER}")).expect("a temporary file can be written");
        let problems = load_keys(&file, running.keys.len(), &env).expect_err("these keys should be refused");
        listed(&problems).replace(&dir.path().display().to_string(), "DIR")
    };
    let open = good(&format!("server: {{ listen: 0.0.0.0:4100 }}\nkeys: [ {{ sha256: {HASH}, team: ops }} ]\n"));
    insta::assert_snapshot!(again("", &open), @"DIR/farthing.yaml: `keys` is gone, which would open the door; wanted at least one key, or a restart that means it");
    insta::assert_snapshot!(again("mode: watch\n", &open), @"DIR/farthing.yaml:1:7: `mode` is `watch`; wanted `enforce` or `observe`");
}
