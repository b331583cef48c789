//! The processes of a run: starting them, and what the kernel knows of their time and memory.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::bodies::{BURST_MODEL, Case, PACED_MODEL, TIER_MODELS, WHOLE_MODEL};

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    talk: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// This program in a role.
    ///
    /// # Errors
    ///
    /// It did not start, or did not say where it listens.
    pub fn role(role: &str, of_role: &[String]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--role", role])
            .args(of_role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        let mut process = Self { child, addresses: Vec::new(), talk: Some((input, BufReader::new(output))) };
        let line = process.line()?;
        process.addresses = line
            .split_whitespace()
            .map(|address| address.parse().map_err(io::Error::other))
            .collect::<Result<_, _>>()?;
        Ok(process)
    }

    /// The real gateway. It may not listen yet.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn farthing(program: &Path, home: &Home) -> io::Result<Self> {
        Self::start(program, &home.config, home.listen)
    }

    /// The same on any configuration.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn start(program: &Path, config: &Path, listen: SocketAddr) -> io::Result<Self> {
        let log = fs::File::create(config.with_file_name("farthing.log"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child, addresses: vec![listen], talk: None })
    }

    /// Where a case's requests go: the gateway has one door for all, the others one for each provider.
    pub fn door(&self, case: Case) -> SocketAddr {
        let wanted = match case {
            Case::Small | Case::Medium | Case::Large | Case::Cold(_) | Case::Warm(_) => 0,
            Case::Paced => 1,
            Case::Burst => 2,
        };
        self.addresses[wanted.min(self.addresses.len() - 1)]
    }

    /// Allocations until now, of a role that counts them.
    pub fn allocations(&mut self) -> io::Result<u64> {
        if let Some((input, _)) = &mut self.talk {
            input.write_all(b"?\n")?;
        }
        self.line()?.trim().parse().map_err(io::Error::other)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some((_, output)) = &mut self.talk {
            output.read_line(&mut line)?;
        }
        Ok(line)
    }

    /// CPU time of all its threads. Exact while it rests; should a thread end, the kernel's own sum (in
    /// steps of 10 ms) takes over, which also has those that ended.
    pub fn cpu(&self) -> io::Result<Duration> {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut nanos = 0;
        for task in fs::read_dir(folder.join("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        let stat = fs::read_to_string(folder.join("stat"))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let (exact, coarse) = (Duration::from_nanos(nanos), Duration::from_millis(ticks * 10));
        Ok(if coarse > exact + Duration::from_millis(50) { coarse } else { exact })
    }

    /// Resident memory in MB: now, and the most since it started.
    pub fn memory(&self) -> io::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().find_map(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
        };
        Ok((mb("VmRSS:"), mb("VmHWM:")))
    }
}

/// A folder with a configuration and, later, a ledger and a log.
pub struct Home {
    pub folder: PathBuf,
    pub config: PathBuf,
    listen: SocketAddr,
    _kept: tempfile::TempDir,
}

impl Home {
    /// Default settings, one row for each canned provider, a free port.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be written.
    pub fn new(providers: &[SocketAddr]) -> io::Result<Self> {
        Self::with_ledger(providers, "durability: process")
    }

    /// The same with a budget for the team that pays, which is never spent.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be written.
    pub fn with_budgets(providers: &[SocketAddr]) -> io::Result<Self> {
        let home = Self::new(providers)?;
        let terms = "{ budget: { usd: 1000000, every: month }, limits: { requests_per_minute: 100000000 } }";
        let mut text = fs::read_to_string(&home.config)?;
        text += &format!("teams: {{ default: {terms} }}\n");
        fs::write(&home.config, text)?;
        Ok(home)
    }

    /// The same with other settings of the ledger.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be written.
    pub fn with_ledger(providers: &[SocketAddr], settings: &str) -> io::Result<Self> {
        let kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let listen = free_port()?;
        let mut text = format!("server: {{ listen: \"{listen}\", admin_listen: \"127.0.0.1:0\" }}\n");
        text += &format!("ledger: {{ path: ledger.db, {settings} }}\nproviders:\n");
        let rows = [("whole", WHOLE_MODEL), ("paced", PACED_MODEL), ("burst", BURST_MODEL)];
        for ((row, model), address) in rows.into_iter().zip(providers) {
            let of_tiers = TIER_MODELS.iter().filter(|_| row == "whole").map(|(_, model)| format!(", \"{model}\""));
            let models = format!("\"{model}\"{}", of_tiers.collect::<String>());
            text += &format!(
                "  {row}: {{ protocol: openai, vendor: openai, base_url: \"http://{address}/v1\", models: [{models}] }}\n"
            );
        }
        text += "tiers:\n";
        text.extend(TIER_MODELS.map(|(tier, model)| format!("  {tier}: [whole/{model}]\n")));
        let config = kept.path().join("farthing.yaml");
        fs::write(&config, text)?;
        Ok(Self { folder: kept.path().to_owned(), config, listen, _kept: kept })
    }

    /// Attempts in the ledger, completed and with an exact cost.
    ///
    /// # Errors
    ///
    /// The ledger's, as text.
    pub fn settled_attempts(&self) -> Result<u64, Box<dyn std::error::Error>> {
        let views = farthing::ledger::open_views(&self.folder.join("ledger.db"))?;
        let sql = "select count(*) from attempts_v1 where fate = 'completed' and cost_nano is not null";
        Ok(views.query_row(sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }
}

/// A port that was free a moment ago, so that a start can be timed without reading where it listens.
pub fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
