//! Routing policies as files: a folder is read whole, or what is wrong with it is said.
//!
//! Every `*.md` at the top of the folder is a policy but `README.md`; links are followed, so that a mounted ConfigMap
//! works, and what editors leave behind is passed over. What stands in the files is `policy`'s business; when to look
//! again is `app`'s, which compares [`Stamp`]s.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use crate::limits::{POLICY_BYTES_MAX, POLICY_FILES_MAX};
use crate::policy::{self, Policy, Set, Verify};
use crate::problem::{Place, Problem, first_of, nearest_hint};

use super::{Config, about_all, secrets};

/// How often a folder that changes while it is read is read before that is told.
const READ_TRIES: usize = 3;

/// Reads all policies of a folder, holds each against its own tests, and puts them together.
///
/// What is allowed and yet probably not meant comes along, as warnings.
///
/// # Errors
///
/// Everything that is wrong with any of the files; none of them is in force then.
pub fn load(folder: &Path, verify: Verify<'_>) -> Result<(Set, Vec<Problem>), Vec<Problem>> {
    load_again(folder, verify, &mut Known::default())
}

/// Whether the folder that a configuration names is there; `source` is where the configuration came from.
///
/// # Errors
///
/// Where it names the folder, with the one beside it that was probably meant.
pub fn are_there(config: &Config, source: &str) -> Result<(), Problem> {
    let Some(folder) = config.policies.as_deref().filter(|folder| !folder.exists()) else { return Ok(()) };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.parent().map(|beside| if beside.as_os_str().is_empty() { Path::new(".") } else { beside });
    let beside = beside.and_then(|beside| fs::read_dir(beside).ok()).into_iter().flatten().flatten();
    let folders: Vec<String> = beside
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let hint = nearest_hint(&name, folders.iter().map(String::as_str));
    let message = format!("`policies` is `{name}`; wanted a folder that is there{hint}");
    Err(Problem::at(source, config.policies_at.unwrap_or(Place { line: 0, column: 0 }), message))
}

/// Policies as they were read last: a file whose bytes are the same is neither parsed nor tried again.
#[derive(Default)]
pub struct Known(Vec<(Arc<Policy>, Vec<Problem>)>);

impl Known {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, file: &str, text: &str) -> Option<&(Arc<Policy>, Vec<Problem>)> {
        let of_file = self.0.iter().find(|(policy, _)| policy.file == file)?;
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        Some(of_file).filter(|(policy, _)| policy.sha256 == hash)
    }
}

/// [`load`] where `known` was read before; it becomes what is read now if that is good, and stays as it was if not.
///
/// # Errors
///
/// The same.
pub fn load_again(folder: &Path, verify: Verify<'_>, known: &mut Known) -> Result<(Set, Vec<Problem>), Vec<Problem>> {
    let texts = snapshot(folder, read).map_err(|problem| vec![problem])?;
    let (mut policies, mut problems) = (Vec::new(), Vec::new());
    for (file, text) in texts {
        let name = file.display().to_string();
        let loaded = match text {
            Ok(text) => match known.find(&name, &text) {
                Some(same) => Ok(same.clone()),
                None => judge(&name, &text, verify).map(|(policy, warnings)| (Arc::new(policy), warnings)),
            },
            Err(message) => Err(vec![about_all(&name, &message)]),
        };
        match loaded {
            Ok(loaded) => policies.push(loaded),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(first_of(problems));
    }
    let set = Set::new(policies.iter().map(|(policy, _)| Arc::clone(policy)))?;
    let mut warnings: Vec<Problem> = policies.iter().flat_map(|(_, warnings)| warnings.iter().cloned()).collect();
    if policies.is_empty() {
        let message = "the folder has no policies: all requests come under the built-in default";
        warnings.push(about_all(&folder.display().to_string(), message));
    }
    known.0 = policies;
    Ok((set, warnings))
}

/// What a file holds, or why it is not a policy.
type Text = Result<String, String>;

/// The texts of all policies of a folder at one moment: files that are replaced together are read together.
fn snapshot(folder: &Path, read: impl Fn(&Path) -> Text) -> Result<Vec<(PathBuf, Text)>, Problem> {
    for _ in 0..READ_TRIES {
        let before = stamp(folder);
        let texts: Vec<_> = files(folder)?
            .into_iter()
            .map(|file| {
                let text = read(&file);
                (file, text)
            })
            .collect();
        if stamp(folder) == before {
            return Ok(texts);
        }
    }
    Err(about_all(&folder.display().to_string(), "the folder changes while it is read; wanted it at rest"))
}

/// Reads one policy and holds it against its own tests.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load_file(file: &Path, verify: Verify<'_>) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let name = file.display().to_string();
    let text = read(file).map_err(|message| vec![about_all(&name, &message)])?;
    judge(&name, &text, verify)
}

fn judge(name: &str, text: &str, verify: Verify<'_>) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let (policy, mut warnings) = policy::parse(name, text)?;
    if is_nearly_default(&policy) {
        let message = format!(
            "is for a pipeline that is called `{}`; wanted `default.md` for everything else, or another name",
            policy.name
        );
        return Err(vec![about_all(name, &message)]);
    }
    let (advisory, failed): (Vec<_>, Vec<_>) = verify(&policy).into_iter().partition(|failed| failed.advisory);
    if !failed.is_empty() {
        return Err(failed.into_iter().map(|failed| failed.problem).collect());
    }
    warnings.extend(advisory.into_iter().map(|failed| failed.problem));
    Ok((policy, warnings))
}

/// `Default.md`, `defaults.md`: what was for everything would be for nobody.
fn is_nearly_default(policy: &Policy) -> bool {
    const DEFAULT: &str = "default";
    let name = policy.name.to_lowercase();
    let is_of_its_name = policy.applies_to.pipelines == [policy.name.as_str()];
    policy.name != DEFAULT && is_of_its_name && strsim::damerau_levenshtein(&name, DEFAULT) <= 1
}

fn read(file: &Path) -> Text {
    let unreadable = |error| format!("cannot read it: {}", secrets::reason(&error));
    if file.file_name().is_none_or(|name| name.to_str().is_none()) {
        return Err("the file's name is not UTF-8; wanted a name that requests can carry".to_owned());
    }
    match fs::metadata(file).map_err(unreadable)? {
        of if of.is_dir() => return Err("it is a folder; wanted a policy, or another name".to_owned()),
        of if !of.is_file() => return Err("it is no regular file; wanted a policy".to_owned()),
        _ => {}
    }
    let mut bytes = Vec::new();
    let bound = POLICY_BYTES_MAX as u64 + 1;
    // What looks like a file and gives nothing, such as the kernel's log, is not waited for.
    let open = fs::OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(file);
    open.and_then(|open| open.take(bound).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(format!("it is larger than {POLICY_BYTES_MAX} bytes; wanted a policy"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The policy files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let of_folder = |message: String| about_all(&folder.display().to_string(), &message);
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => of_folder("there is no such folder; wanted one with policies".to_owned()),
        std::io::ErrorKind::NotADirectory => {
            of_folder("it is no folder; wanted the one that policies are in".to_owned())
        }
        _ => of_folder(format!("cannot read the folder: {}", secrets::reason(&error))),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if is_policy(&name.to_string_lossy()) {
            files.push(folder.join(name));
        }
        if files.len() > POLICY_FILES_MAX {
            return Err(of_folder(format!("the folder has more than {POLICY_FILES_MAX} policies; wanted fewer")));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of this name is a policy; hidden files and those that editors keep beside a file are not.
fn is_policy(name: &str) -> bool {
    let is_markdown = name.len() > 3 && name.get(name.len() - 3..).is_some_and(|end| end.eq_ignore_ascii_case(".md"));
    is_markdown && !name.starts_with(['.', '#', '~']) && !name.eq_ignore_ascii_case("README.md")
}

/// What tells one state of a folder from the next, without reading its files. `None` for a folder that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stamp(Option<Vec<(PathBuf, Option<FileStamp>)>>);

/// Device, inode, length, and times of modification and change in seconds and nanoseconds.
type FileStamp = [i64; 7];

/// Looks at a folder.
pub fn stamp(folder: &Path) -> Stamp {
    let of_file = |file: PathBuf| {
        let stamp = fs::metadata(&file).ok().map(|of| {
            [
                of.dev() as i64,
                of.ino() as i64,
                of.len() as i64,
                of.mtime(),
                of.mtime_nsec(),
                of.ctime(),
                of.ctime_nsec(),
            ]
        });
        (file, stamp)
    };
    Stamp(files(folder).ok().map(|files| files.into_iter().map(of_file).collect()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::policy::Failed;

    const GOOD: &str = "## Lightweight\n- Log parsing\n";
    const SILENT: Verify<'static> = &|_| Vec::new();

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let (set, _) = load(folder, SILENT).unwrap_or_else(|problems| panic!("{problems:?}"));
        set.policies().iter().map(|policy| policy.name.clone()).collect()
    }

    #[track_caller]
    fn check_refused(folder: &Path, expected: &[&str]) {
        let problems = load(folder, SILENT).map(|_| ()).unwrap_err();
        let place = format!("{}/", folder.display());
        let told: Vec<String> = problems.iter().map(|problem| problem.to_string().replace(&place, "")).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn every_markdown_file_at_the_top_is_a_policy_but_the_readme() {
        let folder = folder(&[
            ("b.md", GOOD),
            ("a.md", GOOD),
            ("README.md", "anything"),
            ("notes.txt", "anything"),
            ("rules/sql.md", "anything"),
            ("context/runbook.md", "anything"),
        ]);
        assert_eq!(names(folder.path()), ["a", "b", "default"]);
    }

    #[test]
    fn what_editors_leave_behind_is_no_policy() {
        let folder = folder(&[
            ("a.md", GOOD),
            ("a.md~", "x"),
            (".a.md.swp", "x"),
            ("#a.md#", "x"),
            ("~$a.md", "x"),
            ("4913", ""),
        ]);
        symlink("ana@host.123", folder.path().join(".#a.md")).unwrap();
        assert_eq!(names(folder.path()), ["a", "default"]);
    }

    #[test]
    fn a_mounted_config_map_is_read_through_its_links_and_seen_to_change() {
        let folder = folder(&[("..2026_1/a.md", GOOD), ("..2026_2/a.md", "## Frontier\n- Log parsing\n")]);
        let at = |name: &str| folder.path().join(name);
        symlink("..2026_1", at("..data")).unwrap();
        symlink("..data/a.md", at("a.md")).unwrap();
        assert_eq!(names(folder.path()), ["a", "default"]);
        let before = stamp(folder.path());
        assert_eq!(before, stamp(folder.path()));
        symlink("..2026_2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_ne!(before, stamp(folder.path()));
        let (set, _) = load(folder.path(), SILENT).unwrap();
        assert_eq!(set.policies()[0].tasks[0].tier, crate::task::Tier::Frontier);
    }

    #[test]
    fn a_folder_without_policies_leaves_the_built_in_default() {
        let folder = folder(&[]);
        assert_eq!(names(folder.path()), ["default"]);
        let (_, warnings) = load(folder.path(), SILENT).unwrap();
        assert!(warnings[0].message.contains("has no policies"), "{warnings:?}");
    }

    #[test]
    fn files_that_are_no_policies_are_refused_all_at_once() {
        let folder = folder(&[("a.md", "## Lightweigt\n- x\n"), ("b.md/x", ""), ("d.md", GOOD)]);
        fs::write(folder.path().join("c.md"), b"\xff\xfe").unwrap();
        symlink("nowhere", folder.path().join("e.md")).unwrap();
        fs::write(folder.path().join("f.md"), " ".repeat(POLICY_BYTES_MAX + 1)).unwrap();
        check_refused(
            folder.path(),
            &[
                "a.md:1:1: `## Lightweigt` nearly names a tier; wanted `Lightweight` as its first word",
                "b.md: it is a folder; wanted a policy, or another name",
                "c.md: it is not UTF-8 text",
                "e.md: cannot read it: there is no such file",
                "f.md: it is larger than 262144 bytes; wanted a policy",
            ],
        );
    }

    #[test]
    fn a_name_that_no_request_can_carry_is_refused() {
        let folder = folder(&[]);
        let name = std::ffi::OsStr::from_bytes(b"\xff.md");
        // Some file systems have no such names.
        if fs::write(folder.path().join(name), GOOD).is_ok() {
            let problems = load(folder.path(), SILENT).unwrap_err();
            assert!(problems[0].message.contains("not UTF-8"), "{problems:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_or_is_none_is_refused() {
        let folder = folder(&[("a.md", GOOD)]);
        for (name, expected) in [
            ("no", "there is no such folder; wanted one with policies"),
            ("a.md", "it is no folder; wanted the one that policies are in"),
        ] {
            let problems = load(&folder.path().join(name), SILENT).unwrap_err();
            assert!(problems[0].to_string().ends_with(&format!("{name}: {expected}")), "{problems:?}");
        }
    }

    #[test]
    fn files_that_are_replaced_while_they_are_read_are_read_again_together() {
        let folder = folder(&[("..1/a.md", "old"), ("..1/b.md", "old"), ("..2/a.md", "new"), ("..2/b.md", "new")]);
        let at = |name: &str| folder.path().join(name);
        symlink("..1", at("..data")).unwrap();
        for name in ["a.md", "b.md"] {
            symlink(format!("..data/{name}"), at(name)).unwrap();
        }
        let reads_slowly = |file: &Path| {
            let text = read(file);
            if fs::read_link(at("..data")).unwrap() == Path::new("..1") {
                symlink("..2", at("..data_tmp")).unwrap();
                fs::rename(at("..data_tmp"), at("..data")).unwrap();
            }
            text
        };
        let texts = snapshot(folder.path(), reads_slowly).unwrap();
        assert!(texts.iter().all(|(_, text)| *text == Ok("new".to_owned())), "{texts:?}");
        let never_rests = |file: &Path| {
            fs::write(at("a.md"), format!("{:?}", std::time::Instant::now())).unwrap();
            read(file)
        };
        let problem = snapshot(folder.path(), never_rests).unwrap_err();
        assert!(problem.message.contains("changes while it is read"), "{problem}");
    }

    #[test]
    fn only_files_that_changed_are_read_again() {
        let folder = folder(&[("a.md", GOOD), ("b.md", GOOD)]);
        let tried = std::sync::Mutex::new(Vec::new());
        let verify = |policy: &Policy| {
            tried.lock().unwrap().push(policy.name.clone());
            let problem = Problem::at(&policy.file, policy.tasks[0].at, "doubtful");
            vec![Failed { problem, advisory: true }]
        };
        let mut known = Known::default();
        let (before, _) = load_again(folder.path(), &verify, &mut known).unwrap();
        fs::write(folder.path().join("b.md"), "## Frontier\n- Log parsing\n").unwrap();
        let (after, warnings) = load_again(folder.path(), &verify, &mut known).unwrap();
        assert_eq!(*tried.lock().unwrap(), ["a", "b", "b"]);
        assert_eq!(warnings.len(), 2, "also those of the file that did not change");
        let is_same = |n: usize| Arc::ptr_eq(&before.policies()[n], &after.policies()[n]);
        assert!(is_same(0) && !is_same(1));
        fs::write(folder.path().join("b.md"), "## Frontiers\n- x\n").unwrap();
        load_again(folder.path(), &verify, &mut known).unwrap_err();
        assert_eq!(known.0.len(), 2, "what was good is still known");
    }

    #[test]
    fn a_name_that_is_nearly_the_defaults_is_refused() {
        for name in ["Default.md", "defaults.md", "DEFAULT.MD", "defualt.md"] {
            let problems = load(folder(&[(name, GOOD)]).path(), SILENT).map(|_| ()).unwrap_err();
            assert!(problems[0].message.contains("wanted `default.md` for everything else"), "{problems:?}");
        }
        let of_another = "---\napplies_to: { teams: [a] }\n---\n## Lightweight\n- x\n";
        assert_eq!(names(folder(&[("defaults.md", of_another)]).path()), ["defaults", "default"]);
    }

    #[test]
    fn what_gives_nothing_is_not_waited_for() {
        let folder = folder(&[]);
        let file = folder.path().join("a.md");
        // A regular file as far as the kernel says, whose reading waits for the next message.
        symlink("/proc/kmsg", &file).unwrap();
        assert!(load(folder.path(), SILENT).is_err());
    }

    #[test]
    fn a_policy_that_contradicts_its_tests_is_refused() {
        let folder = folder(&[("a.md", GOOD)]);
        let contradicts = |advisory| {
            move |policy: &Policy| {
                vec![Failed { problem: Problem::at(&policy.file, policy.tasks[0].at, "contradicts itself"), advisory }]
            }
        };
        assert_eq!(load(folder.path(), &contradicts(false)).unwrap_err()[0].line, 2);
        let (_, warnings) = load(folder.path(), &contradicts(true)).unwrap();
        assert_eq!(warnings[0].line, 2);
    }
}
