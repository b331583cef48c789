//! Retries, timeouts and the circuit: `dispatch:` at the top and the single fields that a row overrides.

use std::time::Duration;

use super::super::findings::Findings;
use super::super::values;
use super::super::written;
use super::super::{Circuit, Dispatch, Hedge, HedgeAfter};

/// What holds where neither the file nor the row says otherwise.
pub(super) const DEFAULT: Dispatch = Dispatch {
    retries: 2,
    retry_wait: Duration::from_secs(10),
    connect_timeout: Duration::from_secs(5),
    first_byte_timeout: Duration::from_secs(120),
    idle_timeout: Duration::from_secs(60),
    total_timeout: Duration::from_secs(15 * 60),
    retry_after_timeout: false,
    circuit: Some(CIRCUIT),
    hedge: None,
};

/// What `hedge: on` means.
const HEDGE: Hedge = Hedge { after: HedgeAfter::Percentile(95), at_most_ppm: 50_000 };
const CIRCUIT: Circuit = Circuit { failures: 5, cool_down: Duration::from_secs(30) };

/// `base` with the written fields in place of its own.
pub(super) fn check(findings: &mut Findings, written: written::Dispatch, base: Dispatch) -> Dispatch {
    let mut timeout = |key, field, default| findings.value(key, field, values::timeout).unwrap_or(default);
    let connect_timeout = timeout("connect_timeout", written.connect_timeout, base.connect_timeout);
    let first_byte_timeout = timeout("first_byte_timeout", written.first_byte_timeout, base.first_byte_timeout);
    let idle_timeout = timeout("idle_timeout", written.idle_timeout, base.idle_timeout);
    let total_timeout = timeout("total_timeout", written.total_timeout, base.total_timeout);
    Dispatch {
        retries: findings.value("retries", written.retries, values::whole(0..=10)).unwrap_or(base.retries),
        retry_wait: findings.value("retry_wait", written.retry_wait, values::duration).unwrap_or(base.retry_wait),
        connect_timeout,
        first_byte_timeout,
        idle_timeout,
        total_timeout,
        retry_after_timeout: findings
            .value("retry_after_timeout", written.retry_after_timeout, values::switch)
            .unwrap_or(base.retry_after_timeout),
        circuit: circuit(findings, written.circuit, base.circuit),
        hedge: hedge(findings, written.hedge, base.hedge),
    }
}

fn hedge(findings: &mut Findings, field: written::Field<written::Hedge>, base: Option<Hedge>) -> Option<Hedge> {
    let Some(written) = findings.given("hedge", field) else { return base };
    let usual = base.unwrap_or(HEDGE);
    let place = written.referenced;
    let switch = match written.value {
        written::Hedge::Row(row) => {
            return Some(Hedge {
                after: findings.value("after", row.after, hedge_after).unwrap_or(usual.after),
                at_most_ppm: findings.value("at_most", row.at_most, values::share).unwrap_or(usual.at_most_ppm),
            });
        }
        written::Hedge::Switch(word) => values::switch(&word).ok(),
        written::Hedge::Other => None,
    };
    match switch {
        Some(on) => on.then_some(usual),
        None => {
            let wanted = "`on`, `off`, or a row such as `{ after: p95, at_most: 5% }`";
            findings.at(place, format!("`hedge` is neither a switch nor a row; wanted {wanted}"));
            base
        }
    }
}

fn hedge_after(text: &str) -> Result<HedgeAfter, String> {
    let percentile = text.strip_prefix('p').and_then(|percent| percent.parse().ok());
    match percentile.filter(|percent| (1..=99).contains(percent)) {
        Some(percent) => Ok(HedgeAfter::Percentile(percent)),
        None => values::timeout(text)
            .map(HedgeAfter::Delay)
            .map_err(|_| "a percentile of how long answers take, such as `p95`, or a time, such as `2s`".to_owned()),
    }
}

fn circuit(findings: &mut Findings, field: written::Field<written::Circuit>, base: Option<Circuit>) -> Option<Circuit> {
    let Some(written) = findings.given("circuit", field) else { return base };
    let usual = base.unwrap_or(CIRCUIT);
    let place = written.referenced;
    let switch = match written.value {
        written::Circuit::Row(row) => return Some(circuit_row(findings, row, usual)),
        written::Circuit::Switch(word) => values::switch(&word).ok(),
        written::Circuit::Other => None,
    };
    match switch {
        Some(on) => on.then_some(usual),
        None => {
            let wanted = "`on`, `off`, or a row such as `{ failures: 5, cool_down: 30s }`";
            findings.at(place, format!("`circuit` is neither a switch nor a row; wanted {wanted}"));
            base
        }
    }
}

fn circuit_row(findings: &mut Findings, row: written::CircuitRow, usual: Circuit) -> Circuit {
    Circuit {
        failures: findings.value("failures", row.failures, values::whole(1..=1000)).unwrap_or(usual.failures),
        cool_down: findings.value("cool_down", row.cool_down, values::timeout).unwrap_or(usual.cool_down),
    }
}
