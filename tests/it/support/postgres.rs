//! A Postgres of the tests' own: one cluster for all of them, in a temporary folder, a database for each.

use std::fs;
use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use tokio_postgres::NoTls;

use super::{Authority, PATIENCE};

/// Whoever runs it where the tests are root: Postgres refuses to.
const NOBODY: u32 = 65_534;

pub struct Postgres {
    folder: PathBuf,
    pub port: u16,
    pub authority: Authority,
    /// Holds the pipe whose end ends the server with the process.
    _server: Mutex<Child>,
}

/// A database that nobody else uses.
pub struct Database {
    pub name: String,
    pub postgres: &'static Postgres,
}

/// A fresh database; `None` where no Postgres is installed, and that is said.
pub fn database() -> Option<Database> {
    static POSTGRES: OnceLock<Option<Postgres>> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Some(postgres) = POSTGRES.get_or_init(Postgres::start) else {
        println!("skipped: there is no Postgres here; `tests/run.sh` installs Debian's");
        return None;
    };
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    postgres.execute("postgres", &format!("CREATE DATABASE {name}"));
    Some(Database { name, postgres })
}

impl Database {
    /// Its URL over the Unix socket.
    pub fn url(&self) -> String {
        let socket = self.postgres.folder.display().to_string().replace('/', "%2F");
        format!("postgres://farthing:hunter2@{socket}:{}/{}?sslmode=disable", self.postgres.port, self.name)
    }

    /// Its URL over TCP at `port`.
    pub fn url_at(&self, host: &str, port: u16, parameters: &str) -> String {
        format!("postgres://farthing:hunter2@{host}:{port}/{}?{parameters}", self.name)
    }

    /// Runs statements.
    pub fn execute(&self, sql: &str) {
        self.postgres.execute(&self.name, sql);
    }

    /// Runs statements in a transaction that stays open until what this gives is dropped.
    pub fn lock(&self, sql: &str) -> Lock {
        let ((begun, has_begun), (ends, mut end)) = (mpsc::channel(), tokio::sync::watch::channel(()));
        let (config, sql) = (self.postgres.config(&self.name), format!("BEGIN; {sql}"));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = config.connect(NoTls).await.expect("a connection");
                tokio::spawn(connection);
                client.batch_execute(&sql).await.expect("a lock");
                begun.send(()).expect("somebody waits");
                drop(end.changed().await);
                client.batch_execute("ROLLBACK").await.expect("its end");
            });
        });
        has_begun.recv_timeout(PATIENCE).expect("it begins");
        Lock { ends: Some(ends), thread: Some(thread) }
    }
}

/// A transaction that is open until it is dropped.
pub struct Lock {
    ends: Option<tokio::sync::watch::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.ends.take());
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

impl Postgres {
    fn start() -> Option<Self> {
        let binaries = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
        let binaries = binaries.filter(|path| path.join("postgres").exists()).max()?;
        let folder = tempfile::Builder::new().prefix("farthing-pg").tempdir().expect("a folder").keep();
        let authority = Authority::new();
        let certificate = authority.signs("localhost");
        for (name, text) in [("server.pem", &certificate.cert), ("server.key", &certificate.key)] {
            fs::write(folder.join(name), text).expect("a file");
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).expect("its mode");
        }
        let is_root = fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
        if is_root {
            for path in [folder.clone(), folder.join("server.pem"), folder.join("server.key")] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.expect("a free port").port();
        // The server ends when its input does, which is when this process does, however that ends.
        let script = format!(
            "set -e; cd {folder}; {binaries}/initdb -D data -U farthing -A trust -E UTF8 --locale=C.UTF-8 -N >log 2>&1
             {binaries}/postgres -D data -k {folder} -p {port} -h 127.0.0.1 -F \
               -c full_page_writes=off -c synchronous_commit=off -c shared_buffers=16MB -c max_wal_size=256MB -c ssl=on \
               -c ssl_cert_file={folder}/server.pem -c ssl_key_file={folder}/server.key >>log 2>&1 &
             read _ || true; kill -INT $!; wait $! || true; cd /; rm -rf {folder}",
            folder = folder.display(),
            binaries = binaries.display()
        );
        let mut command = if is_root { Command::new("setpriv") } else { Command::new("env") };
        if is_root {
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        }
        let server = command.args(["sh", "-c", &script]).stdin(Stdio::piped()).spawn().expect("a shell");
        let postgres = Self { folder, port, authority, _server: Mutex::new(server) };
        let since = std::time::Instant::now();
        while !postgres.answers() {
            let log = || fs::read_to_string(postgres.folder.join("log")).unwrap_or_default();
            assert!(since.elapsed() < 3 * PATIENCE, "Postgres does not start: {}", log());
            thread::yield_now();
        }
        Some(postgres)
    }

    fn answers(&self) -> bool {
        let (folder, port) = (self.folder.clone(), self.port);
        folder.join(format!(".s.PGSQL.{port}")).exists() && self.try_execute("postgres", "SELECT 1").is_ok()
    }

    pub fn execute(&self, database: &str, sql: &str) {
        self.try_execute(database, sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).port(self.port).user("farthing").dbname(database);
        config
    }

    fn try_execute(&self, database: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
        let config = self.config(database);
        aside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                client.batch_execute(sql).await
            })
        })
    }

    /// Writes the certificate of whoever signed the server's.
    pub fn write_authority(&self, folder: &Path) -> String {
        let file = folder.join("authority.pem");
        fs::write(&file, self.authority.pem()).expect("a file");
        file.display().to_string().replace('/', "%2F")
    }
}

/// Does what blocks on a thread of its own, outside of any runtime.
pub fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A way to a server that can be shut: connections are cut then, and new ones come to nothing.
pub struct Gate {
    pub port: u16,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    /// The server's port, while it is open.
    leads_to: Arc<Mutex<Option<u16>>>,
}

impl Gate {
    /// One that is shut.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let gate = Self {
            port: listener.local_addr().expect("a port").port(),
            streams: Arc::default(),
            leads_to: Arc::default(),
        };
        let (streams, to) = (gate.streams.clone(), gate.leads_to.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = to.lock().expect("no panic");
                let Some(server) = to.and_then(|port| TcpStream::connect(("127.0.0.1", port)).ok()) else { continue };
                let both = || Ok::<_, io::Error>((client.try_clone()?, server.try_clone()?));
                let pairs = [both(), both()].map(|pair| pair.expect("descriptors"));
                streams.lock().expect("no panic").extend([client, server]);
                let [(mut a, mut b), (mut c, mut d)] = pairs;
                thread::spawn(move || drop(io::copy(&mut a, &mut b)));
                thread::spawn(move || drop(io::copy(&mut d.by_ref(), &mut c)));
            }
        });
        gate
    }

    pub fn open(&self, port: u16) {
        *self.leads_to.lock().expect("no panic") = Some(port);
    }

    pub fn shut(&self) {
        *self.leads_to.lock().expect("no panic") = None;
        for stream in self.streams.lock().expect("no panic").drain(..) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }
}
