//! The parts that this program plays in other processes: the provider, the bare proxy, and the gateway
//! with its allocations counted. Each prints one line of addresses and serves until its input ends.

use std::alloc::{GlobalAlloc, Layout};
use std::convert::Infallible;
use std::error::Error;
use std::io::BufRead as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use farthing::simulator::{Canned, Provider};
use farthing::telemetry::log::Log;
use farthing::{app, config};
use http::{Request, Response, Uri};
use http_body_util::Either;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mimalloc::MiMalloc;
use tokio::net::{TcpListener, TcpStream};

use super::bodies;

/// Farthing's allocator, with a count that is off unless asked for.
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to `MiMalloc` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

fn count() {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

/// A part to play.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// Three canned providers: whole answers, paced streams, streams in one burst.
    Provider,
    /// The same for each dialect.
    ProviderOfDialects,
    /// One proxy without logic in front of each of the given addresses.
    Bare,
    /// The same with its allocations counted.
    BareCounted,
    /// The gateway on the given configuration, its allocations counted.
    GatewayCounted,
}

/// Plays a part until standard input ends; each line on it is answered with the allocations so far.
///
/// # Errors
///
/// What kept it from starting.
pub fn play(role: Role, of_role: &[String]) -> Result<(), Box<dyn Error>> {
    COUNTS.store(matches!(role, Role::BareCounted | Role::GatewayCounted), Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let addresses = match role {
        Role::Provider => runtime.block_on(provider())?,
        Role::ProviderOfDialects => runtime.block_on(super::translated::providers())?,
        Role::Bare | Role::BareCounted => runtime.block_on(bare(of_role))?,
        Role::GatewayCounted => runtime.block_on(gateway(of_role.first().ok_or("no configuration")?))?,
    };
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    println!("{}", addresses.join(" "));
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", ALLOCATIONS.load(Ordering::Relaxed));
    }
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(())
}

async fn provider() -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let mut addresses = Vec::new();
    for canned in [
        Canned::document(bodies::document()),
        Canned::events(bodies::events(), Duration::from_millis(1)),
        Canned::events(bodies::events(), Duration::ZERO),
    ] {
        let running = Provider::openai().canned(canned).start().await?;
        addresses.push(running.address());
        // It serves for as long as the process lives.
        std::mem::forget(running);
    }
    Ok(addresses)
}

async fn gateway(file: &str) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let file = Path::new(file);
    let config = config::load(file, &|_| None).map_err(|problems| format!("{problems:?}"))?;
    let log = std::fs::File::create(file.with_extension("log"))?;
    let running = app::start(config, Some(file.to_owned()), Log::to(Box::new(log))).await?;
    let address = running.listen;
    std::mem::forget(running);
    Ok(vec![address])
}

async fn bare(upstreams: &[String]) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let mut addresses = Vec::new();
    for upstream in upstreams {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        addresses.push(listener.local_addr()?);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(tcp);
        let upstream = Uri::try_from(format!("http://{upstream}/"))?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, client.clone(), upstream.clone()));
            }
        });
    }
    Ok(addresses)
}

/// Forwards method, path, headers and body, and streams the answer back: the least that a proxy can do.
async fn relay(stream: TcpStream, client: Client<HttpConnector, Incoming>, upstream: Uri) {
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request: Request<Incoming>| {
        let (client, upstream) = (client.clone(), upstream.clone());
        async move {
            let (mut head, body) = request.into_parts();
            let mut uri = upstream.into_parts();
            uri.path_and_query = head.uri.into_parts().path_and_query;
            head.uri = Uri::from_parts(uri).unwrap_or_default();
            Ok::<_, Infallible>(match client.request(Request::from_parts(head, body)).await {
                Ok(response) => response.map(Either::Left),
                Err(_) => {
                    let mut failed = Response::new(Either::Right(Empty::<Bytes>::new()));
                    *failed.status_mut() = http::StatusCode::BAD_GATEWAY;
                    failed
                }
            })
        }
    });
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
