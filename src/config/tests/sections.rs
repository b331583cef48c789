//! Single values of `server`, `dispatch`, `limits`, `ledger` and the rest.

use std::time::Duration;

use insta::assert_snapshot;

use super::*;

#[test]
fn a_mode_has_two_words() {
    assert_snapshot!(wrong_part("mode: watch\n"), @"farthing.yaml:1:7: `mode` is `watch`; wanted `enforce` or `observe`");
}

#[test]
fn a_call_is_not_tried_for_ever() {
    assert_eq!(good("dispatch: { retries: 10 }\n").providers[0].dispatch.retries, 10);
    assert_snapshot!(wrong_part("dispatch: { retries: 11 }\n"), @"farthing.yaml:1:22: `retries` is `11`; wanted a whole number from 0 to 10");
}

#[test]
fn a_listener_needs_a_port() {
    assert_snapshot!(wrong_part("server: { listen: 127.0.0.1 }\n"), @"farthing.yaml:1:19: `listen` is `127.0.0.1`; wanted a port too, such as `127.0.0.1:4100` or `[::1]:4100`");
}

#[test]
fn a_listener_needs_an_address() {
    assert_snapshot!(wrong_part("server: { listen: 4100, admin_listen: ':4101' }\n"), @"
    farthing.yaml:1:19: `listen` is `4100`; wanted an IP address and a port, such as `127.0.0.1:4100` or `[::1]:4100`
    farthing.yaml:1:39: `admin_listen` is `:4101`; wanted an IP address and a port, such as `127.0.0.1:4100` or `[::1]:4100`
    ");
}

#[test]
fn a_listener_is_no_host_name() {
    assert_snapshot!(wrong_part("server: { listen: 'gateway.internal:4100' }\n"), @"farthing.yaml:1:19: `listen` is `gateway.internal:4100`; wanted an IP address and a port, such as `127.0.0.1:4100` or `[::1]:4100`");
}

#[test]
fn two_listeners_cannot_share_a_port() {
    assert_snapshot!(wrong_part("server: { listen: 127.0.0.1:4100, admin_listen: 127.0.0.1:4100 }\n"), @"farthing.yaml:1:49: `admin_listen` is `127.0.0.1:4100` and `listen` is `127.0.0.1:4100`; wanted two that differ in their port");
}

#[test]
fn the_default_admin_port_can_collide_too() {
    assert_snapshot!(wrong_part("server: { listen: 127.0.0.1:4101 }\n"), @"farthing.yaml:1:19: `admin_listen` is `127.0.0.1:4101` and `listen` is `127.0.0.1:4101`; wanted two that differ in their port");
}

#[test]
fn all_addresses_include_loopback() {
    assert_snapshot!(wrong_part(&format!("server: {{ listen: 0.0.0.0:4100, admin_listen: 127.0.0.1:4100 }}\nkeys: [ {{ sha256: {HASH}, team: ops }} ]\n")), @"farthing.yaml:1:47: `admin_listen` is `127.0.0.1:4100` and `listen` is `0.0.0.0:4100`; wanted two that differ in their port");
}

#[test]
fn listening_beyond_loopback_needs_keys() {
    assert_snapshot!(wrong_part("server: { listen: 0.0.0.0:4100 }\n"), @"farthing.yaml:1:19: `listen` is `0.0.0.0:4100`, beyond loopback, and there are no `keys`; wanted at least one key, or a loopback address such as `127.0.0.1:4100`");
}

#[test]
fn an_empty_list_of_keys_is_no_key() {
    assert_snapshot!(wrong_part("server: { listen: '[::]:4100' }\nkeys: []\n"), @"
    farthing.yaml:1:19: `listen` is `[::]:4100`, beyond loopback, and there are no `keys`; wanted at least one key, or a loopback address such as `127.0.0.1:4100`
    farthing.yaml:2:7: `keys` holds none; wanted at least one, or no `keys`, which accepts everybody on this machine
    ");
}

#[test]
fn an_admin_listener_beyond_loopback_needs_an_admin_key() {
    assert_snapshot!(wrong_part("server: { admin_listen: 192.168.0.7:4101 }\n"), @"farthing.yaml:1:25: `admin_listen` is `192.168.0.7:4101`, beyond loopback, and there is no `admin_key`; wanted one, such as `env:FARTHING_ADMIN_KEY`, or a loopback address such as `127.0.0.1:4101`");
}

#[test]
fn an_admin_key_is_a_reference() {
    assert_snapshot!(wrong_part("server: { admin_key: sk-literal }\n"), @"farthing.yaml:1:22: `admin_key` holds a literal value; wanted a reference, `env:NAME` or `file:path`, so that no secret stands in this file");
}

#[test]
fn a_host_is_a_name_only() {
    assert_snapshot!(wrong_part("server: { hosts: [gateway.internal, 'https://gateway.internal', 'gateway:80', ''] }\n"), @"
    farthing.yaml:1:37: an entry of `hosts` is `https://gateway.internal`; wanted a host name without scheme and port, such as `gateway.internal`
    farthing.yaml:1:65: an entry of `hosts` is `gateway:80`; wanted a host name without scheme and port, such as `gateway.internal`
    farthing.yaml:1:79: an entry of `hosts` is ``; wanted a host name without scheme and port, such as `gateway.internal`
    ");
}

#[test]
fn a_switch_is_on_or_off() {
    assert_snapshot!(wrong_part("server: { cost_comment: yes }\n"), @"farthing.yaml:1:25: `cost_comment` is `yes`; wanted `on` or `off`");
}

#[test]
fn a_duration_needs_its_unit() {
    assert_snapshot!(wrong_part("dispatch: { total_timeout: 900 }\n"), @"farthing.yaml:1:28: `total_timeout` is `900`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours");
}

#[test]
fn a_duration_is_one_number_and_one_unit() {
    assert_snapshot!(wrong_part("dispatch: { total_timeout: 1h30m, idle_timeout: 1.5s, connect_timeout: -1s, retry_wait: 5 s }\n"), @"
    farthing.yaml:1:28: `total_timeout` is `1h30m`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    farthing.yaml:1:49: `idle_timeout` is `1.5s`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    farthing.yaml:1:72: `connect_timeout` is `-1s`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    farthing.yaml:1:89: `retry_wait` is `5 s`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    ");
}

#[test]
fn a_duration_ends_at_a_day() {
    assert_snapshot!(wrong_part("server: { drain_timeout: 25h }\ndispatch: { retry_wait: 99999999999999999999h }\n"), @"
    farthing.yaml:1:26: `drain_timeout` is `25h`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    farthing.yaml:2:25: `retry_wait` is `99999999999999999999h`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours
    ");
}

#[test]
fn a_timeout_is_not_zero() {
    assert_snapshot!(wrong_part("dispatch: { connect_timeout: 0s, first_byte_timeout: 0ms, idle_timeout: 0m, total_timeout: 0h, circuit: { cool_down: 0s } }\n"), @"
    farthing.yaml:1:30: `connect_timeout` is `0s`; wanted more than zero, such as `5s`
    farthing.yaml:1:54: `first_byte_timeout` is `0ms`; wanted more than zero, such as `5s`
    farthing.yaml:1:73: `idle_timeout` is `0m`; wanted more than zero, such as `5s`
    farthing.yaml:1:92: `total_timeout` is `0h`; wanted more than zero, such as `5s`
    farthing.yaml:1:118: `cool_down` is `0s`; wanted more than zero, such as `5s`
    ");
}

#[test]
fn retries_stay_in_a_sane_range() {
    assert_snapshot!(wrong_part("dispatch: { retries: 11 }\n"), @"farthing.yaml:1:22: `retries` is `11`; wanted a whole number from 0 to 10");
}

#[test]
fn retries_are_a_whole_number() {
    assert_snapshot!(wrong_part("dispatch: { retries: -1, circuit: { failures: 0 } }\n"), @"
    farthing.yaml:1:22: `retries` is `-1`; wanted a whole number from 0 to 10
    farthing.yaml:1:47: `failures` is `0`; wanted a whole number from 1 to 1000
    ");
}

#[test]
fn a_size_has_a_binary_unit() {
    assert_snapshot!(wrong_part("limits: { body_bytes: 64MB, upload_bytes: 1.5GiB, memory_bytes: 99999999999TiB }\n"), @"
    farthing.yaml:1:23: `body_bytes` is `64MB`; wanted a size such as `512KiB`, `64MiB`, `1GiB` or a number of bytes, more than zero
    farthing.yaml:1:43: `upload_bytes` is `1.5GiB`; wanted a size such as `512KiB`, `64MiB`, `1GiB` or a number of bytes, more than zero
    farthing.yaml:1:65: `memory_bytes` is `99999999999TiB`; wanted a size such as `512KiB`, `64MiB`, `1GiB` or a number of bytes, more than zero
    ");
}

#[test]
fn nothing_is_no_size() {
    assert_snapshot!(wrong_part("limits: { body_bytes: 0, concurrency: 0 }\n"), @"
    farthing.yaml:1:23: `body_bytes` is `0`; wanted a size such as `512KiB`, `64MiB`, `1GiB` or a number of bytes, more than zero
    farthing.yaml:1:39: `concurrency` is `0`; wanted a whole number from 1 to 1000000
    ");
}

#[test]
fn memory_holds_at_least_one_body() {
    assert_snapshot!(wrong_part("limits: { body_bytes: 2GiB }\n"), @"farthing.yaml:1:23: `body_bytes` is 2147483648 bytes and `memory_bytes` 1073741824; wanted room for at least one body");
}

#[test]
fn a_ledger_fails_in_one_of_two_ways() {
    assert_snapshot!(wrong_part("ledger: { when_it_fails: block, durability: disk }\n"), @"
    farthing.yaml:1:26: `when_it_fails` is `block`; wanted `deny` or `allow`
    farthing.yaml:1:45: `durability` is `disk`; wanted `process` or `power`
    ");
}

#[test]
fn a_ledger_is_a_file() {
    assert_snapshot!(wrong_part("ledger: { path: data/ }\n"), @"farthing.yaml:1:17: `path` is `data/`; wanted the path of a file");
}

#[test]
fn a_time_zone_has_an_iana_name() {
    assert_snapshot!(wrong_part("timezone: Berlin\n"), @"farthing.yaml:1:11: `timezone` is `Berlin`; wanted an IANA name such as `UTC` or `Europe/Berlin`");
}

#[test]
fn label_values_have_a_range() {
    assert_snapshot!(wrong_part("metrics: { label_values: 0 }\n"), @"farthing.yaml:1:26: `label_values` is `0`; wanted a whole number from 1 to 10000");
}

#[test]
fn everything_wrong_is_reported_in_the_order_of_the_file() {
    assert_snapshot!(wrong_part("\
timezone: Mars/Olympus
mode: watch
limits: { concurrency: many }
server: { listen: here }
"), @"
    farthing.yaml:1:11: `timezone` is `Mars/Olympus`; wanted an IANA name such as `UTC` or `Europe/Berlin`
    farthing.yaml:2:7: `mode` is `watch`; wanted `enforce` or `observe`
    farthing.yaml:3:24: `concurrency` is `many`; wanted a whole number from 1 to 1000000
    farthing.yaml:4:19: `listen` is `here`; wanted an IP address and a port, such as `127.0.0.1:4100` or `[::1]:4100`
    ");
}

#[test]
fn tls_needs_both_of_its_files() {
    assert_snapshot!(wrong_part("server:\n  tls: { cert: a.pem }\n"), @"farthing.yaml:2:8: `tls` lacks one of its files; wanted `cert` and `key`, both in PEM");
    assert_snapshot!(wrong_part("server:\n  tls: { cert: '', key: tls/ }\n"), @"
    farthing.yaml:2:16: `cert` is ``; wanted the path of a file
    farthing.yaml:2:25: `key` is `tls/`; wanted the path of a file
    ");
    let tls = good("server: { tls: { cert: a.pem, key: /b.key, client_ca: tls/ca.pem } }\n").server.tls.expect("files");
    let paths: Vec<_> = tls.paths().map(|path| path.display().to_string()).collect();
    assert_eq!(paths, ["/etc/farthing/a.pem", "/b.key", "/etc/farthing/tls/ca.pem"]);
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    let refused = [
        "https://app.example/",
        "app.example",
        "https://u@app.example",
        "https://app.example:443",
        "https://*.example/x",
    ];
    let listed = refused.map(|origin| format!("'{origin}'")).join(", ");
    assert_snapshot!(wrong_part(&format!("server:\n  cors: {{ origins: [{listed}] }}\n")), @"
    farthing.yaml:2:21: an entry of `origins` is `https://app.example/`; wanted an origin without a path, such as `https://app.example` or `http://localhost:3000`, or `*`
    farthing.yaml:2:45: an entry of `origins` is `app.example`; wanted an origin without a path, such as `https://app.example` or `http://localhost:3000`, or `*`
    farthing.yaml:2:60: an entry of `origins` is `https://u@app.example`; wanted an origin without a path, such as `https://app.example` or `http://localhost:3000`, or `*`
    farthing.yaml:2:85: an entry of `origins` is `https://app.example:443`; wanted the origin as browsers write it, without the usual port: `https://app.example`
    farthing.yaml:2:112: an entry of `origins` is `https://*.example/x`; wanted an origin without a path, such as `https://app.example` or `http://localhost:3000`, or `*`
    ");
    let cors = good("server: { cors: { origins: ['HTTPS://App.example', 'http://localhost:3000'] } }\n")
        .server
        .cors
        .expect("origins");
    assert_eq!(cors.origins, ["https://app.example", "http://localhost:3000"]);
    assert_eq!(cors.max_age, Duration::from_secs(600));
}

#[test]
fn any_page_may_come_only_where_keys_are_asked_for() {
    assert_snapshot!(wrong_part("server:\n  cors: { origins: ['*'] }\n"), @"farthing.yaml:2:9: `origins` is `*` and there are no `keys`, so that any web page could spend; wanted the origins by name, or at least one key");
    assert_snapshot!(wrong_part("server:\n  cors: { max_age: 1h }\n"), @r#"farthing.yaml:2:9: `cors` lets nobody in; wanted `origins`, such as `["https://app.example"]`, or no `cors`"#);
    let cors = good(&format!("server: {{ cors: {{ origins: ['*'] }} }}\nkeys: [ {{ sha256: {HASH}, team: ops }} ]\n"))
        .server
        .cors;
    assert!(cors.is_some());
}

#[test]
fn a_share_a_time_or_a_team_that_is_none_is_refused() {
    let text = "overhead_team: x\ntransfer_price: { cache_hit: 101% }\nledger: { keep: 30d }\nteams: { ops: {} }\n";
    assert_snapshot!(wrong_part(text), @"
    farthing.yaml:1:16: `overhead_team` is `x`; wanted a team that stands under `teams`
    farthing.yaml:2:30: `cache_hit` is `101%`; wanted a percentage up to `100%`, such as `20%`
    farthing.yaml:3:17: `keep` is `30d`; wanted a number of months or years, such as `18mo` or `2y`
    ");
    assert_snapshot!(wrong_part("ledger: { keep: 0mo }\n"), @"farthing.yaml:1:17: `keep` is `0mo`; wanted a number of months or years, such as `18mo` or `2y`");
}
