//! Endpoints and settings that cannot work.

use std::time::Duration;

use super::support::{ANY_PORT, Rig, publish, push};
use spanwire_core::Error;
use spanwire_core::output::OutputSettings;

fn refused(settings: &OutputSettings) -> Error {
    Rig::try_new(settings, Duration::from_secs(1))
        .err()
        .unwrap_or_else(|| panic!("{settings:?} was not refused"))
}

#[test]
fn a_port_in_use_says_which_and_what_to_do() {
    let holder = Rig::new(&publish());
    let taken = holder.output.endpoints().remove(0);
    let error = refused(&OutputSettings { bind: vec![taken.clone()], ..publish() });
    assert!(matches!(error, Error::Socket { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&taken) && text.contains("in use") && text.contains("another port"), "{text}");
}

#[test]
fn nothing_stays_bound_when_one_endpoint_is_refused() {
    let holder = Rig::new(&publish());
    let taken = holder.output.endpoints().remove(0);
    let free = Rig::new(&publish()).output.endpoints().remove(0);
    refused(&OutputSettings { bind: vec![free.clone(), taken], ..publish() });
    let again = OutputSettings { bind: vec![free], ..publish() };
    super::support::eventually("it can be bound", || Rig::try_new(&again, Duration::from_secs(1)).is_ok());
}

#[test]
fn an_endpoint_that_is_none_names_the_setting_and_shows_one() {
    for wrong in [
        "",
        "5556",
        "http://127.0.0.1:1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1:70000",
        "tcp://127.0.0.1:5556x",
        "tcp://127.0.0.1:",
        "tcp://203.0.113.7:*",
        "tcp://nosuchinterface:*",
        "ipc://a\0b",
    ] {
        let error = refused(&OutputSettings { bind: vec![wrong.to_owned()], ..push() });
        assert!(matches!(error, Error::Config { setting: "bind", .. }), "{wrong:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("{wrong:?}")), "{text}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let two = ANY_PORT.replace('*', "5556");
    for (wrong, setting) in [
        (OutputSettings { bind: vec![], ..push() }, "bind"),
        (OutputSettings { bind: vec![two.clone(), two], ..push() }, "bind"),
        (OutputSettings { queue_bytes: 0, ..push() }, "queue_bytes"),
        (OutputSettings { queue_messages: 0, ..push() }, "queue_messages"),
        (OutputSettings { high_water_mark: 0, ..push() }, "high_water_mark"),
        (OutputSettings { linger: Duration::MAX, ..push() }, "linger_ms"),
        (OutputSettings { keepalive: Duration::MAX, ..push() }, "keepalive_s"),
        (OutputSettings { heartbeat: Duration::MAX, ..push() }, "heartbeat_ms"),
    ] {
        let error = refused(&wrong);
        assert!(matches!(&error, Error::Config { setting: named, .. } if *named == setting), "{error:?}");
    }
}

#[test]
fn the_largest_settings_allowed_are_taken_by_the_socket() {
    Rig::new(&OutputSettings {
        high_water_mark: i32::MAX,
        linger: Duration::from_secs(3_600),
        keepalive: Duration::from_secs(32_767),
        heartbeat: Duration::from_secs(2_000),
        bind: vec![ANY_PORT.to_owned(), "tcp://[::1]:*".to_owned()],
        ..publish()
    });
    Rig::new(&OutputSettings {
        linger: Duration::ZERO,
        keepalive: Duration::ZERO,
        heartbeat: Duration::ZERO,
        ..push()
    });
}
