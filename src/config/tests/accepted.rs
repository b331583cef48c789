//! What is accepted, and what it comes to.

use std::time::Duration;

use crate::limits::Limits;
use crate::task::Tier;
use crate::translate::Caching;

use super::*;
use crate::ids::TeamId;

/// One row with these further lines, each indented by four spaces.
#[track_caller]
fn row(lines: &str) -> ProviderConfig {
    let text = format!(
        "providers:\n  x:\n    protocol: openai\n    base_url: https://x.example/v1/\n    models: ['*']\n{lines}"
    );
    parsed(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).providers.remove(0)
}

#[test]
fn a_provider_is_enough() {
    let config = good("");
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:4100");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:4101");
    assert!(config.server.cost_comment && config.server.admin_key.is_none() && config.server.hosts.is_empty());
    assert_eq!(config.server.drain_timeout, Duration::from_secs(25));
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.ledger.durability, config.ledger.when_it_fails), (Durability::Process, WhenItFails::Deny));
    assert_eq!((config.label_values, config.timezone.as_str()), (200, "UTC"));
    let dispatch = config.providers[0].dispatch;
    assert_eq!((dispatch.retries, dispatch.retry_wait), (2, Duration::from_secs(10)));
    assert_eq!(dispatch.circuit, Some(Circuit { failures: 5, cool_down: Duration::from_secs(30) }));
}

#[test]
fn who_pays_for_what_nobody_asked_for_and_how_long_rows_are_kept() {
    let config = good("");
    assert_eq!((config.overhead_team, config.transfer_ppm, config.ledger.keep), (None, 0, None));
    let config = good("overhead_team: platform\ntransfer_price: { cache_hit: 12.5% }\nledger: { keep: 2y }\n");
    assert_eq!(config.overhead_team, Some(TeamId::from("platform")));
    assert_eq!((config.transfer_ppm, config.ledger.keep), (125_000, Some(24)));
    assert_eq!(good("transfer_price: { cache_hit: 100% }\n").transfer_ppm, 1_000_000);
}

#[test]
fn off_and_false_are_the_same_in_any_place_for_a_switch() {
    for off in ["off", "false", "'off'", "False", "OFF"] {
        assert!(!good(&format!("server: {{ cost_comment: {off} }}\n")).server.cost_comment, "{off}");
        assert_eq!(good(&format!("dispatch: {{ circuit: {off} }}\n")).providers[0].dispatch.circuit, None, "{off}");
    }
    for on in ["on", "true", "'on'", "True"] {
        assert!(good(&format!("server: {{ cost_comment: {on} }}\n")).server.cost_comment, "{on}");
        assert!(good(&format!("dispatch: {{ circuit: {on} }}\n")).providers[0].dispatch.circuit.is_some(), "{on}");
    }
}

#[test]
fn durations_are_read_with_their_unit() {
    let cases = [("250ms", 250), ("5s", 5_000), ("15m", 900_000), ("24h", 86_400_000), ("0s", 0)];
    for (text, milliseconds) in cases {
        let config = good(&format!("server: {{ drain_timeout: {text} }}\n"));
        assert_eq!(config.server.drain_timeout, Duration::from_millis(milliseconds), "{text}");
    }
}

#[test]
fn sizes_are_read_with_their_unit() {
    for (text, bytes) in [("64MiB", 64 << 20), ("512KiB", 512 << 10), ("1GiB", 1 << 30), ("1234", 1234), ("9B", 9)] {
        assert_eq!(good(&format!("limits: {{ body_bytes: {text} }}\n")).limits.body_bytes, bytes, "{text}");
    }
}

#[test]
fn discounts_are_exact_millionths() {
    for (text, ppm) in [("0%", 0), ("15%", 150_000), ("12.5%", 125_000), ("0.0001%", 1), ("99.9999%", 999_999)] {
        assert_eq!(row(&format!("    discount: {text}\n")).discount_ppm, ppm, "{text}");
    }
}

#[test]
fn addresses_may_be_local_names_ipv6_and_of_a_free_port() {
    let server = good("server: { listen: 'localhost:0', admin_listen: '[::1]:0' }\n").server;
    assert_eq!(
        (server.listen.to_string().as_str(), server.admin_listen.to_string().as_str()),
        ("127.0.0.1:0", "[::1]:0")
    );
    let mapped = good("server: { listen: '[::ffff:127.0.0.1]:80', hosts: [Gateway.Internal] }\n").server;
    assert_eq!(mapped.hosts, ["gateway.internal"]);
    let apart = good("server: { listen: 127.0.0.1:7000, admin_listen: 127.0.0.2:7000 }\n").server;
    assert_eq!(apart.listen.port(), apart.admin_listen.port());
}

#[test]
fn keys_open_the_way_beyond_loopback() {
    let text = "server: { listen: 0.0.0.0:4100, admin_listen: '[::]:4101', admin_key: env:FARTHING_ADMIN_KEY }\n";
    let config = good(&format!("{text}keys: [ {{ sha256: {HASH}, team: ops }} ]\n"));
    assert_eq!(config.server.admin_key.as_ref().map(Secret::reveal), Some("sk-hidden"));
    assert_eq!((config.keys[0].sha256[0], config.keys[0].sha256[31]), (0x55, 0xe1));
}

#[test]
fn a_ledger_may_have_to_survive_a_power_cut() {
    assert_eq!(good("ledger: { durability: power }\n").ledger.durability, Durability::Power);
    assert_eq!(good("ledger: { durability: process }\n").ledger.durability, Durability::Process);
}

#[test]
fn a_mirror_is_a_secret_that_leads_to_a_postgres() {
    let config = good("ledger: { mirror: env:LEDGER_POSTGRES_URL }\n");
    assert!(!format!("{config:?}").contains("sk-hidden"));
    let url = config.ledger.mirror.expect("it is named");
    assert_eq!(url.reveal(), "postgres://me:sk-hidden@db/farthing");
    assert!(good("").ledger.mirror.is_none());
}

#[test]
fn in_observe_mode_a_failing_ledger_stops_nobody() {
    assert_eq!(good("mode: observe\n").ledger.when_it_fails, WhenItFails::Allow);
    assert_eq!(good("mode: observe\nledger: { when_it_fails: deny }\n").ledger.when_it_fails, WhenItFails::Deny);
}

#[test]
fn a_base_url_loses_its_trailing_slashes() {
    assert_eq!(row("").access().base_url, "https://x.example/v1");
    assert_eq!(row("").access().path_prefix(), "/v1");
    let root = "providers: { x: { protocol: openai, base_url: 'http://[::1]:8080//', models: [m] } }\n";
    let config = parsed(root).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.providers[0].access().path_prefix(), "");
    assert_eq!(config.providers[0].access().base_url.port_u16(), Some(8080));
}

#[test]
fn a_row_overrides_single_fields_of_dispatch() {
    let text = "dispatch: { retries: 3, total_timeout: 1m, circuit: { failures: 9, cool_down: 1m } }
providers:
  a: { protocol: openai, base_url: https://x.example, models: [m], dispatch: { retries: 0, circuit: { failures: 1 } } }
  b: { protocol: openai, base_url: https://x.example, models: [m], dispatch: { retry_after_timeout: on, circuit: off } }
";
    let config = parsed(text).unwrap_or_else(|problems| panic!("{problems}"));
    let [a, b] = [config.providers[0].dispatch, config.providers[1].dispatch];
    assert_eq!((a.retries, a.total_timeout, a.retry_after_timeout), (0, Duration::from_secs(60), false));
    assert_eq!(a.circuit, Some(Circuit { failures: 1, cool_down: Duration::from_secs(60) }));
    assert_eq!((b.retries, b.retry_after_timeout, b.circuit), (3, true, None));
}

#[test]
fn rows_keep_the_order_of_the_file() {
    let rows: String = ["zeta", "alpha", "mid", "beta"]
        .map(|name| format!("  {name}: {{ protocol: openai, base_url: https://x.example, models: [m] }}\n"))
        .concat();
    let config = parsed(&format!("providers:\n{rows}")).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = config.providers.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(names, ["zeta", "alpha", "mid", "beta"]);
    assert!(config.provider("mid").is_some() && config.provider("none").is_none());
}

#[test]
fn a_row_needs_no_key_and_may_have_another_vendor() {
    let local = row("    vendor: openai\n    metering: observe\n");
    assert!(local.access().credential.is_none());
    assert_eq!((local.vendor.as_str(), local.metering), ("openai", Metering::Observe));
    assert_eq!(row("").vendor, "x");
}

#[test]
fn a_row_may_mark_for_its_clients_what_is_to_be_cached() {
    let caching = |lines: &str| row(lines).caching;
    assert_eq!((caching(""), caching("    cache_control: off\n")), (None, Some(Caching::AsMarked)));
    assert_eq!(caching("    cache_control: auto\n"), Some(Caching::Automatic));
    assert_eq!(caching("    cache_control: 1h\n"), Some(Caching::Hour));
}

#[test]
fn a_bare_name_in_a_tier_is_the_first_row_that_serves_it() {
    let config = good("tiers: { lightweight: [gpt-5.6-luna] }\n");
    assert_eq!(config.tiers.models(Tier::Lightweight)[0].provider.as_str(), "openai");
    assert!(config.tiers.models(Tier::Frontier).is_empty());
}

#[test]
fn a_team_comes_into_being_by_a_key_unless_teams_are_declared() {
    let key = format!("keys: [ {{ sha256: {HASH}, team: ops, mode: observe, project: p, pipeline: q }} ]\n");
    let config = good(&key);
    assert!(config.team("ops").is_none() && config.teams.is_empty());
    assert_eq!(config.keys[0].mode, Some(Mode::Observe));
    assert_eq!(config.keys[0].defaults.pipeline.as_deref(), Some("q"));
    let declared = good(&format!("teams: {{ ops: {{ providers: [openai] }} }}\n{key}"));
    assert_eq!(declared.team("ops").and_then(|team| team.providers.as_ref()).map(Vec::len), Some(1));
}

#[test]
fn a_key_without_grants_may_claim_everything_within_its_team() {
    let may = good(&format!("keys: [ {{ sha256: {HASH}, team: ops }} ]\n")).keys.remove(0).may;
    assert!(may.teams.is_empty() && !may.unbounded);
    assert!(may.projects.is_none() && may.pipelines.is_none() && may.tasks.is_none());
    assert!(may.tiers.is_none() && may.models.is_none());
}

#[test]
fn sections_that_are_all_comments_are_absent() {
    let config = good("server:\n  # listen: 0.0.0.0:4100\nlimits:\ntiers:\nteams:\nmetrics:\n");
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn windows_line_ends_byte_order_marks_and_anchors_are_fine() {
    good("\u{feff}mode: observe\r\nserver:\r\n  cost_comment: off\r\n");
    let text = "dispatch: { idle_timeout: &t 7s, connect_timeout: *t }\n";
    assert_eq!(good(text).providers[0].dispatch.connect_timeout, Duration::from_secs(7));
}

#[test]
fn no_secret_shows_in_debug_output() {
    let row = row("    key: env:OPENAI_API_KEY\n    headers: { x-tenant: env:FARTHING_ADMIN_KEY, x-plain: ops }\n");
    assert_eq!(row.headers.len(), 2);
    let printed = format!("{row:?}");
    assert!(!printed.contains("sk-hidden") && printed.contains("ops"), "{printed}");
}

#[test]
fn models_that_are_as_good_as_one_another_share_a_place_in_their_tier() {
    let tiers = "tiers: { frontier: [[openai/gpt-a, openai/gpt-b], openai/gpt-c], lightweight: [openai/gpt-d] }\n";
    let tiers = good(tiers).tiers;
    let names = |models: &[ModelRef]| models.iter().map(|model| model.model.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(tiers.models(Tier::Frontier)), "gpt-a gpt-b gpt-c");
    let groups: Vec<String> = tiers.equals(Tier::Frontier).iter().map(|group| names(group)).collect();
    assert_eq!((groups, tiers.equals(Tier::Lightweight).len()), (vec!["gpt-a gpt-b".to_owned()], 0));
}

#[test]
fn slow_calls_are_hedged_where_the_file_says_so_and_a_row_may_say_otherwise() {
    let hedge = |text: &str| good(&format!("dispatch: {{ {text} }}\n")).providers[0].dispatch.hedge;
    let after = |after, at_most_ppm| Some(Hedge { after, at_most_ppm });
    assert_eq!((hedge("retries: 1"), hedge("hedge: off")), (None, None));
    assert_eq!(hedge("hedge: on"), after(HedgeAfter::Percentile(95), 50_000));
    assert_eq!(hedge("hedge: { after: p99, at_most: 100% }"), after(HedgeAfter::Percentile(99), 1_000_000));
    assert_eq!(hedge("hedge: { after: 2s, at_most: 0.5% }"), after(HedgeAfter::Delay(Duration::from_secs(2)), 5_000));
    let row = "dispatch: { hedge: { after: 2s } }
providers:
  a: { protocol: openai, base_url: https://x.example, models: [m], dispatch: { hedge: off } }
  b: { protocol: openai, base_url: https://x.example, models: [m], dispatch: { hedge: { at_most: 1% } } }
";
    let rows = parsed(row).expect("it is good").providers;
    assert_eq!(rows[0].dispatch.hedge, None);
    assert_eq!(rows[1].dispatch.hedge, after(HedgeAfter::Delay(Duration::from_secs(2)), 10_000));
}
