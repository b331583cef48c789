//! Routing policies as files: a folder is read whole, or what is wrong with it is said.
//!
//! Every `*.md` at the top of the folder is a policy but `README.md`; links are followed, so that a mounted ConfigMap
//! works, and what editors leave behind is passed over. What stands in the files is `policy`'s business; when to look
//! again is `app`'s, which compares [`Stamp`]s.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::limits::{POLICY_BYTES_MAX, POLICY_FILES_MAX};
use crate::policy::{self, Policy, Set, Verify};
use crate::problem::{Problem, first_of};

use super::{about_all, secrets};

/// Reads all policies of a folder, holds each against its own tests, and puts them together.
///
/// What is allowed and yet probably not meant comes along, as warnings.
///
/// # Errors
///
/// Everything that is wrong with any of the files; none of them is in force then.
pub fn load(folder: &Path, verify: Verify<'_>) -> Result<(Set, Vec<Problem>), Vec<Problem>> {
    let files = files(folder).map_err(|problem| vec![problem])?;
    let (mut policies, mut warnings, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        match load_file(&file, verify) {
            Ok((policy, doubts)) => {
                policies.push(policy);
                warnings.extend(doubts);
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(first_of(problems));
    }
    Set::new(policies).map(|set| (set, warnings))
}

/// Reads one policy and holds it against its own tests.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load_file(file: &Path, verify: Verify<'_>) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let name = file.display().to_string();
    if file.file_name().is_none_or(|name| name.to_str().is_none()) {
        return Err(vec![about_all(&name, "the file's name is not UTF-8; wanted a name that requests can carry")]);
    }
    let text = read(file).map_err(|message| vec![about_all(&name, &message)])?;
    let (policy, mut warnings) = policy::parse(&name, &text)?;
    let (advisory, failed): (Vec<_>, Vec<_>) = verify(&policy).into_iter().partition(|failed| failed.advisory);
    if !failed.is_empty() {
        return Err(failed.into_iter().map(|failed| failed.problem).collect());
    }
    warnings.extend(advisory.into_iter().map(|failed| failed.problem));
    Ok((policy, warnings))
}

fn read(file: &Path) -> Result<String, String> {
    let unreadable = |error| format!("cannot read it: {}", secrets::reason(&error));
    match fs::metadata(file).map_err(unreadable)? {
        of if of.is_dir() => return Err("it is a folder; wanted a policy, or another name".to_owned()),
        of if !of.is_file() => return Err("it is no regular file; wanted a policy".to_owned()),
        _ => {}
    }
    let mut bytes = Vec::new();
    let bound = POLICY_BYTES_MAX as u64 + 1;
    fs::File::open(file).and_then(|open| open.take(bound).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(format!("it is larger than {POLICY_BYTES_MAX} bytes; wanted a policy"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The policy files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let of_folder = |message: String| about_all(&folder.display().to_string(), &message);
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => of_folder("`policies` names a folder that is not there".to_owned()),
        std::io::ErrorKind::NotADirectory => of_folder("`policies` names a file; wanted its folder".to_owned()),
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
        assert_eq!(names(folder(&[]).path()), ["default"]);
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
        for (name, expected) in
            [("no", "names a folder that is not there"), ("a.md", "names a file; wanted its folder")]
        {
            let problems = load(&folder.path().join(name), SILENT).unwrap_err();
            assert!(problems[0].to_string().ends_with(&format!("{name}: `policies` {expected}")), "{problems:?}");
        }
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
