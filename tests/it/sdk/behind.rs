//! A door behind the scenes: what arrived at the scripted providers, for cases that run in another process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use farthing::simulator::{Exchange, Running as Simulator};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Providers, each with the beginning of its models' names; the first that fits a model serves it.
pub type Providers = Arc<[(&'static str, Arc<Simulator>)]>;

/// Answers until the test ends:
///
/// - `/requests/MODEL`: the requests for a model so far, oldest first;
/// - `/arrived/MODEL`: the same, as soon as there is one;
/// - `/hung-up/MODEL`: the same, as soon as a client of that model has hung up;
/// - `/release`: lets stalled answers go on.
pub async fn open(providers: Providers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let providers = Arc::clone(&providers);
            let service = service_fn(move |request| {
                let providers = Arc::clone(&providers);
                async move { Ok::<_, Infallible>(answer(&providers, &request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn answer(providers: &Providers, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let found = if let Some(model) = path.strip_prefix("/requests/") {
        Ok(requests(of(providers, model), model))
    } else if let Some(model) = path.strip_prefix("/arrived/") {
        arrived(of(providers, model), model).await
    } else if let Some(model) = path.strip_prefix("/hung-up/") {
        hung_up(of(providers, model), model).await
    } else {
        providers.iter().for_each(|(_, provider)| provider.release());
        Ok(Value::Null)
    };
    let (status, body) = found.map_or_else(|why| (StatusCode::NOT_FOUND, json!(why)), |found| (StatusCode::OK, found));
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
}

fn of<'a>(providers: &'a Providers, model: &str) -> &'a Simulator {
    &providers.iter().find(|(beginning, _)| model.starts_with(beginning)).expect("a provider of the model").1
}

fn of_model<'a>(provider: &Simulator, model: &'a str) -> impl Iterator<Item = Arc<Exchange>> + use<'a> {
    provider.requests().into_iter().filter(move |exchange| exchange.json()["model"] == model)
}

fn requests(provider: &Simulator, model: &str) -> Value {
    let show = |exchange: Arc<Exchange>| {
        let headers = exchange.headers.iter();
        let headers: Value =
            headers.map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default()))).collect();
        json!({
            "path": exchange.path, "headers": headers, "body": exchange.json(),
            "frames": exchange.frames(), "hung_up": exchange.hung_up(),
        })
    };
    of_model(provider, model).map(show).collect()
}

async fn arrived(provider: &Simulator, model: &str) -> Result<Value, String> {
    loop {
        let before = provider.arrivals();
        if of_model(provider, model).next().is_some() {
            return Ok(requests(provider, model));
        }
        provider.arrival(before + 1).await.map_err(|vain| vain.to_string())?;
    }
}

async fn hung_up(provider: &Simulator, model: &str) -> Result<Value, String> {
    loop {
        let before = provider.hang_ups();
        if of_model(provider, model).any(|exchange| exchange.hung_up()) {
            return Ok(requests(provider, model));
        }
        provider.hung_up(before + 1).await.map_err(|vain| vain.to_string())?;
    }
}
