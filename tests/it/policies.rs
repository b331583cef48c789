//! The folder of policies is read whole at the start and when it changes; one bad file changes nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use farthing::simulator::Reply;

use crate::process::{FARTHING, run};
use crate::support::{Setup, World, luna};

const GOOD: &str = "## Lightweight\n- Log parsing\n";

async fn world(files: &[(&str, &str)]) -> World {
    let mut setup = Setup::of(luna([Reply::text("ok")])).more("policies: policies");
    for (name, text) in files {
        setup = setup.file(&format!("policies/{name}"), text);
    }
    setup.start().await
}

/// The versions in force, as the metric has them, without their hashes.
async fn in_force(world: &World) -> Vec<String> {
    let page = world.admin("/metrics", &[]).await;
    let series =
        page.text().lines().filter_map(|line| line.strip_prefix("farthing_policy_info{version=\"").map(str::to_owned));
    let mut names: Vec<String> = series.map(|rest| rest.split('@').next().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

fn write(world: &World, name: &str, text: &str) {
    fs::write(world.folder.path().join("policies").join(name), text).expect("a writable file");
}

#[tokio::test]
async fn a_change_of_the_folder_is_in_force_without_a_restart() {
    let world = world(&[("orders.md", GOOD), ("README.md", "not a policy")]).await;
    assert_eq!(in_force(&world).await, ["default", "orders"]);
    write(&world, "billing.md", GOOD);
    let reloaded = world.logged("policies_reloaded", 1).await;
    assert_eq!(reloaded["policies"].as_array().map(Vec::len), Some(3), "{reloaded}");
    assert_eq!(in_force(&world).await, ["billing", "default", "orders"]);
    fs::remove_file(world.folder.path().join("policies/orders.md")).expect("it goes");
    world.logged("policies_reloaded", 2).await;
    assert_eq!(in_force(&world).await, ["billing", "default"]);
}

#[tokio::test]
async fn one_bad_file_keeps_every_policy_as_it_was_and_says_where() {
    let world = world(&[("orders.md", GOOD)]).await;
    let before = world.admin("/metrics", &[]).await;
    let live = |page: &str| {
        page.lines().filter(|line| line.starts_with("farthing_policy_info{")).map(str::to_owned).collect::<Vec<_>>()
    };
    // A change of one file, and a mistake in another.
    write(&world, "orders.md", "## Frontier\n- Log parsing\n");
    write(&world, "billing.md", "## Lightweight\n- x\n## Frontiers\n- y\n");
    let failed = world.logged("reload_failed", 1).await;
    assert!(failed["problems"].to_string().contains("billing.md:3:1: `## Frontiers` nearly names a tier"), "{failed}");
    assert_eq!(live(world.admin("/metrics", &[]).await.text()), live(before.text()));
    assert_eq!(world.metric("farthing_policy_reload_failures_total", "").await, 1.0);
    assert_eq!(world.metric("farthing_reload_failures_total", "policies").await, 1.0);
    write(&world, "billing.md", GOOD);
    world.logged("policies_reloaded", 1).await;
    assert_eq!(in_force(&world).await, ["billing", "default", "orders"]);
    assert_ne!(live(world.admin("/metrics", &[]).await.text()), live(before.text()));
}

#[tokio::test]
async fn a_pattern_that_no_compiler_should_see_fails_the_reload_and_nothing_else() {
    let world = world(&[("orders.md", GOOD)]).await;
    let braces = |depth: usize| format!("[\"{}a{}\"]", "{".repeat(depth), "}".repeat(depth));
    write(&world, "x.md", &format!("---\nrules: [{{ when: {{ globs: {} }}, use: frontier }}]\n---\n", braces(10_000)));
    let failed = world.logged("reload_failed", 1).await;
    assert!(failed["problems"].to_string().contains("x.md:2:27: `{{{"), "{failed}");
    write(&world, "x.md", &format!("---\ntreat_as_auto: {}\n---\n", braces(300)));
    let failed = world.logged("reload_failed", 2).await;
    assert!(
        failed["problems"].to_string().contains("it has 300 braces within each other; wanted at most 8"),
        "{failed}"
    );
    assert_eq!(in_force(&world).await, ["default", "orders"]);
    assert_eq!(world.metric("farthing_policy_reload_failures_total", "").await, 2.0);
}

#[test]
fn check_takes_it_quietly_that_nobody_reads_its_complaints() {
    let folder = house(&[("bad.md", &format!("## Frontier\n{}", "- \n".repeat(20_000)))]);
    let policy = folder.path().join("policies/bad.md");
    let mut check = Command::new(FARTHING)
        .arg("check")
        .arg(&policy)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(check.stderr.take());
    assert_eq!(check.wait().expect("an exit status").code(), Some(1));
    let told = run(&["check", &policy.display().to_string()]);
    let (_, told) = told_lines(&told);
    assert_eq!(told.len(), 101);
    assert!(told[100].ends_with("bad.md: 19900 more problems are not shown"), "{}", told[100]);
}

fn told_lines(output: &Output) -> (Vec<String>, Vec<String>) {
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    (lines(&output.stdout), lines(&output.stderr))
}

#[tokio::test]
async fn a_folder_that_has_lost_all_its_policies_changes_nothing() {
    let world = world(&[("orders.md", GOOD)]).await;
    let file = world.folder.path().join("policies/orders.md");
    fs::remove_file(&file).expect("it goes");
    let failed = world.logged("reload_failed", 1).await;
    assert!(failed["problems"].to_string().contains("lost all its policies"), "{failed}");
    assert_eq!(world.metric("farthing_policy_reload_failures_total", "").await, 1.0);
    assert_eq!(in_force(&world).await, ["default", "orders"]);
    fs::write(&file, GOOD).expect("a writable file");
    world.logged("policies_reloaded", 1).await;
    assert_eq!(in_force(&world).await, ["default", "orders"]);
}

#[tokio::test]
async fn a_config_map_is_swapped_as_a_whole() {
    let world =
        world(&[("..first/orders.md", GOOD), ("..second/orders.md", "## Reasoning\n- Log parsing\n"), ("b.md", GOOD)])
            .await;
    let folder = world.folder.path().join("policies");
    symlink("..first", folder.join("..data")).expect("a link");
    symlink("..data/orders.md", folder.join("orders.md")).expect("a link");
    let first = world.logged("policies_reloaded", 1).await;
    symlink("..second", folder.join("..data_tmp")).expect("a link");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("a swap");
    let second = world.logged("policies_reloaded", 2).await;
    assert_eq!(in_force(&world).await, ["b", "default", "orders"]);
    assert_ne!(first["policies"], second["policies"]);
}

/// A configuration with a folder of policies.
fn house(policies: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "server: { listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }\n\
                providers:\n  openai: { protocol: openai, base_url: http://127.0.0.1:9/v1, models: [\"*\"] }\n\
                tiers: { frontier: [openai/gpt-5.6-sol] }\npolicies: policies\n";
    fs::write(folder.path().join("farthing.yaml"), text).expect("a file");
    fs::create_dir(folder.path().join("policies")).expect("a folder");
    for (name, text) in policies {
        fs::write(folder.path().join("policies").join(name), text).expect("a file");
    }
    folder
}

/// What a command printed, with the folder cut off.
fn told(output: &Output, folder: &Path) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&format!("{}/", folder.display()), "");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_bad_policy_is_refused_at_the_start_and_by_check() {
    let folder = house(&[("a.md", "## Frontiers\n- x\n"), ("b.md", "---\nrun: {}\n---\n## Frontier\n- x\n")]);
    let config = folder.path().join("farthing.yaml").display().to_string();
    let expected = "policies/a.md:1:1: `## Frontiers` nearly names a tier; wanted `Frontier` as its first word\n\
                    policies/b.md:2:1: `run` is not available in this version\n";
    let check = run(&["check", "--config", &config]);
    assert_eq!((check.status.code(), told(&check, folder.path()).1.as_str()), (Some(1), expected));
    let serve = run(&["serve", "--config", &config]);
    assert_eq!((serve.status.code(), told(&serve, folder.path()).1), (Some(1), format!("farthing: {expected}")));
}

#[test]
fn check_tells_which_policy_is_for_whom_and_what_it_doubts() {
    let folder = house(&[("a.md", "## Lightweight\n- Log parsing\n## Frontier\n- The parsing of logs\n")]);
    let config = folder.path().join("farthing.yaml").display().to_string();
    let check = run(&["check", "--config", &config]);
    let (stdout, stderr) = told(&check, folder.path());
    assert_eq!((check.status.code(), stderr.as_str()), (Some(0), ""));
    for expected in [
        " for pipelines a: 0 rules, 2 tasks, 0 examples as tests, else frontier",
        "  policy default@",
        "warning: policies/a.md:4:3: `The parsing of logs` (`frontier`) can hardly be told from line 2 (`lightweight`)",
        "warning: policies/a.md:2:3: work goes to `lightweight`, and `tiers` has no model there",
    ] {
        assert!(stdout.contains(expected), "{expected}\nin\n{stdout}");
    }
}

#[test]
fn check_takes_policies_without_a_configuration() {
    let folder = house(&[("a.md", GOOD), ("b.md", "## Frontiers\n- x\n")]);
    let check = |path: &str| {
        let mut command = Command::new(FARTHING);
        command.current_dir(folder.path().join("policies")).env_remove("FARTHING_CONFIG").env_remove("OPENAI_API_KEY");
        command.args(["check", "--format", "json", path]).output().expect("the binary runs")
    };
    assert_eq!(check("a.md").status.code(), Some(0));
    let bad = check("b.md");
    assert_eq!(bad.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("a line of JSON");
    assert_eq!(json["ok"], false);
    assert!(json["problems"][0].as_str().is_some_and(|problem| problem.starts_with("b.md:1:1: ")), "{json}");
    assert_eq!(check(".").status.code(), Some(1));
    assert_eq!(check("nowhere.md").status.code(), Some(1));
}

#[test]
fn check_of_policies_does_not_take_keys_that_cannot_be_read_for_none() {
    let folder = house(&[("a.md", "---\napplies_to: { keys: [ci-key] }\n---\n## Lightweight\n- Translating texts\n")]);
    let check = || {
        let mut command = Command::new(FARTHING);
        command.current_dir(folder.path()).env_remove("FARTHING_CONFIG").env_remove("OPENAI_API_KEY");
        let done = command.args(["check", "policies/a.md"]).output().expect("the binary runs");
        assert_eq!(done.status.code(), Some(0));
        String::from_utf8(done.stdout).expect("it is text")
    };
    fs::write(
        folder.path().join("farthing.yaml"),
        "providers: { sim: { protocol: openai, base_url: http://127.0.0.1:9/v1, models: [\"*\"] } }\n",
    )
    .expect("it can be written");
    assert!(check().contains("`ci-key`"), "nobody has that key: {}", check());
    fs::write(folder.path().join("farthing.keys.db"), [7; 4096]).expect("it can be written");
    let told = check();
    assert!(told.contains("warning: keys are not looked up: "), "{told}");
    assert!(!told.contains("`ci-key`"), "{told}");
}

#[test]
fn check_of_policies_alone_connects_to_nobody_and_says_so() {
    let folder = house(&[("a.md", GOOD)]);
    let mut command = Command::new(FARTHING);
    command.current_dir(folder.path()).env_remove("FARTHING_CONFIG").env_remove("OPENAI_API_KEY");
    let done = command.args(["check", "--live", "policies/a.md"]).output().expect("the binary runs");
    assert_eq!(done.status.code(), Some(1));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(told.contains("`--live` found policies alone"), "{told}");
}

#[test]
fn policies_without_an_example_do_not_pass_their_test() {
    let folder =
        house(&[("a.md", "## Lightweight\n- Translating texts\n## Exampels\n- \"Translate this\" → lightweight\n")]);
    let mut command = Command::new(FARTHING);
    command.current_dir(folder.path()).env_remove("FARTHING_CONFIG").env_remove("OPENAI_API_KEY");
    let done = command.args(["policy", "test", "policies"]).output().expect("the binary runs");
    assert_eq!(done.status.code(), Some(1));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(told.contains("a.md: has no examples; wanted bullets such as "), "{told}");
}

const CONTRADICTS: &str = "## Frontier\n- Designing architectures\n## Lightweight\n- Translating texts\n  - \"Translate this into Dutch\"\n\
                           ## Examples\n- \"Translate this letter into French\" → lightweight\n\
                           - \"Translate this letter into French\" → frontier\n\
                           - \"Translate this letter into French\" → reasoning {advisory: true}\n";
const WHERE: &str = "policies/a.md:8:3: this example goes to lightweight by `translating-texts`, in line 4; wanted frontier, which has 0.";

#[test]
fn a_policy_that_contradicts_its_examples_is_refused_at_the_start_and_by_check() {
    let folder = house(&[("a.md", CONTRADICTS)]);
    let config = folder.path().join("farthing.yaml").display().to_string();
    let check = run(&["check", "--config", &config]);
    let (_, told_by_check) = told(&check, folder.path());
    assert_eq!((check.status.code(), told_by_check.lines().count()), (Some(1), 1), "{told_by_check}");
    assert!(told_by_check.starts_with(WHERE), "{told_by_check}");
    let serve = run(&["serve", "--config", &config]);
    assert_eq!((serve.status.code(), told(&serve, folder.path()).1), (Some(1), format!("farthing: {told_by_check}")));
}

#[tokio::test]
async fn a_change_that_contradicts_an_example_changes_nothing() {
    let world = world(&[("orders.md", GOOD)]).await;
    write(&world, "a.md", CONTRADICTS);
    let failed = world.logged("reload_failed", 1).await;
    assert!(failed["problems"].to_string().contains("a.md:8:3: this example goes to lightweight"), "{failed}");
    assert_eq!(in_force(&world).await, ["default", "orders"]);
}

#[test]
fn examples_are_tried_one_line_for_each_that_fails() {
    let folder = house(&[("a.md", CONTRADICTS), ("b.md", GOOD)]);
    let config = folder.path().join("farthing.yaml").display().to_string();
    let tried = run(&["policy", "test", "--config", &config]);
    let (stdout, stderr) = told(&tried, folder.path());
    assert_eq!((tried.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with(WHERE), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("warning: policies/a.md:9:3: this example goes to lightweight"), "{stdout}");
    assert_eq!(lines[1], "policies/a.md: 3 examples, 2 failing, 1 of them advisory");
    assert_eq!(lines[2], "policies/b.md: 0 examples, 0 failing");
}

#[test]
fn examples_are_tried_for_programs() {
    let folder = house(&[("a.md", CONTRADICTS), ("b.md", "## Frontiers\n- x\n")]);
    let path = |name: &str| folder.path().join("policies").join(name).display().to_string();
    let json = |path: &str| {
        let output = run(&["policy", "test", "--format", "json", path]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        (output.status.code(), json)
    };
    let (status, a) = json(&path("a.md"));
    assert_eq!((status, &a["ok"], a["examples"].as_array().map(Vec::len)), (Some(1), &false.into(), Some(3)));
    let (good, bad) = (&a["examples"][0], &a["examples"][1]);
    assert_eq!(
        (&good["holds"], &good["task"], &good["message"]),
        (&true.into(), &"translating-texts".into(), &().into())
    );
    assert_eq!(
        (&bad["holds"], &bad["wanted"], &bad["tier"]),
        (&false.into(), &"frontier".into(), &"lightweight".into())
    );
    assert!(bad["share"].as_f64() > bad["wanted_share"].as_f64() && bad["message"].is_string(), "{bad}");
    let (status, b) = json(&path("b.md"));
    assert_eq!((status, &b["ok"], b["problems"].as_array().map(Vec::len)), (Some(1), &false.into(), Some(1)));
}

#[test]
fn the_shipped_policies_hold_their_examples() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("routing-policies").display().to_string();
    let tried = run(&["policy", "test", &shipped]);
    let (stdout, stderr) = told(&tried, Path::new(""));
    assert_eq!((tried.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
}

#[test]
fn what_is_no_policy_and_no_folder_is_told_as_what_it_is() {
    let folder = house(&[]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let check = |arguments: &[&str], expected: &str| {
        let checked = run(arguments);
        let (_, stderr) = told(&checked, folder.path());
        assert_eq!((checked.status.code(), stderr.trim_end()), (Some(1), expected), "{arguments:?}");
    };
    let config = path("farthing.yaml");
    let wanted = "farthing.yaml: is no policy; wanted `farthing check --config farthing.yaml` for a configuration";
    check(&["check", &config], wanted);
    check(&["check", &path("nosuch.md")], "nosuch.md: cannot read it: there is no such file");
    check(&["check", "/dev/null"], "/dev/null: it is no regular file; wanted a policy");
    check(&["policy", "test", &path("policies")], "policies: has no policies; wanted some to try");
    let checked = run(&["check", &path("policies")]);
    assert!(told(&checked, folder.path()).0.contains("warning: policies: the folder has no policies"));
    let text = fs::read_to_string(&config).expect("a file").replace("policies: policies", "policies: polices");
    fs::write(&config, text).expect("a file");
    let at = "farthing.yaml:5:11: `policies` is `polices`; wanted a folder that is there; did you mean `policies`?";
    check(&["check", "--config", &config], at);
    check(&["serve", "--config", &config], &format!("farthing: {at}"));
}
