//! The configuration file as its users have it: who goes before whom, what is printed, what is refused.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

use broadcaster::args::keys::{self, Key, Kind, Scope};
use broadcaster::config::print::literal;
use tempfile::TempDir;

use crate::program::{command, complaint, interrupt, output, start_and_read};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/framecast.example.toml");

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// What `--print-config` prints.
fn printed(command: &mut Command) -> String {
    let output = command.arg("--print-config").output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// The text without what it says about origins.
fn without_origins(text: &str) -> Vec<&str> {
    let entry = |line| str::split_once(line, " # ").map_or(line, |(entry, _)| entry);
    text.lines().map(|line| entry(line).trim_end()).collect()
}

/// Where the printed text says a key comes from.
fn origin_of<'a>(printed: &'a str, name: &str) -> &'a str {
    let begin = format!("{name} = ");
    let line = printed.lines().find(|line| line.starts_with(&begin));
    line.unwrap_or_else(|| panic!("{name}: {printed}"))
        .split_once(" # ")
        .unwrap()
        .1
}

/// A value that each key takes.
fn sample(key: &Key) -> String {
    match (&key.default, key.kind) {
        (_, Kind::Switch) => "true".to_owned(),
        (Some(default), _) => default.clone(),
        (None, Kind::Whole | Kind::Number) => "3".to_owned(),
        (None, Kind::Text) => "https://example.org".to_owned(),
        (None, Kind::Texts) => "brightness=3".to_owned(),
    }
}

fn variable(key: &Key) -> String {
    let flag = key.flag.trim_start_matches("--");
    format!("FRAMECAST_{}", flag.to_uppercase().replace('-', "_"))
}

#[test]
fn for_every_key_the_flag_goes_before_the_variable_and_that_before_the_file() {
    let keys = keys::keys();
    assert!(keys.len() > 15, "{keys:?}");
    let line = |key: &Key| format!("{} = {}\n", key.name, literal(key.kind, &[sample(key)]));
    let lines = |scope| keys.iter().filter(move |key| key.scope == scope).map(line);
    let program: String = lines(Scope::Program).collect();
    let channel: String = lines(Scope::Channel).collect();
    let (_folder, path) = file(&format!("{program}[[channel]]\n{channel}"));

    let defaults = printed(&mut command(""));
    let mut by_file = command("");
    by_file.arg("--config").arg(&path);
    let mut by_variable = command("");
    by_variable.env("FRAMECAST_CONFIG", &path);
    let mut by_flag = command("");
    by_flag.env("FRAMECAST_CONFIG", &path);
    for key in &keys {
        by_variable.env(variable(key), sample(key));
        by_flag.env(variable(key), sample(key));
        match key.kind {
            Kind::Switch => by_flag.arg(&key.flag),
            _ => by_flag.arg(format!("{}={}", key.flag, sample(key))),
        };
    }
    let by_file = printed(&mut by_file);
    let by_variable = printed(&mut by_variable);
    let by_flag = printed(&mut by_flag);
    for key in &keys {
        if key.default.is_some() {
            assert_eq!(origin_of(&defaults, &key.name), "default");
        }
        let place = origin_of(&by_file, &key.name);
        let (named, line) = place.rsplit_once(':').unwrap();
        assert_eq!(named, path.to_str().unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let line = text
            .lines()
            .nth(line.parse::<usize>().unwrap() - 1)
            .unwrap();
        assert!(line.starts_with(&key.name), "{place}: {line}");
        assert_eq!(origin_of(&by_variable, &key.name), variable(key));
        assert_eq!(origin_of(&by_flag, &key.name), key.flag);
    }
}

#[test]
fn what_is_printed_is_a_configuration_that_gives_the_same() {
    let (folder, _) = file(
        "max_age = '1m 30s'\nallow_origin = '*'\nlog = 'a\"b=info'\n[[channel]]\nname = 'yard'\n\
         source = 'clip.jpg'\n[[channel]]\nname = 'lab'\nsource = 'pattern?bytes=9000'\nfps = 12.5\n",
    );
    fs::write(folder.path().join("clip.jpg"), "never opened").unwrap();
    let clip = folder.path().join("clip.jpg");
    let mut first = command("--config f.toml --channel lab --size 320x240 --workers 3");
    first
        .current_dir(folder.path())
        .env("FRAMECAST_QUALITY", "55");
    let first = printed(&mut first);
    assert!(
        first.contains(&format!("source = {:?}", clip.display().to_string())),
        "{first}"
    );
    assert_eq!(origin_of(&first, "max_age"), "f.toml:1");
    assert_eq!(origin_of(&first, "workers"), "--workers");
    assert!(first.contains("# FRAMECAST_QUALITY"), "{first}");

    let (_elsewhere, copy) = file(&first);
    let second = printed(command("--config").arg(&copy));
    assert_eq!(without_origins(&first), without_origins(&second));
    let (_again, copy) = file(&second);
    let third = printed(command("--config").arg(&copy));
    assert_eq!(without_origins(&second), without_origins(&third));
}

#[test]
fn printing_opens_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let (_folder, no_picture) = file("not a picture");
    let line = format!("--http {addr} --source {}", no_picture.display());
    let text = printed(&mut command(&line));
    assert!(text.contains(&format!("http = \"{addr}\"")), "{text}");
}

#[test]
fn a_wrong_file_exits_2_with_one_line_that_names_the_place() {
    let (folder, path) = file("http = '127.0.0.1:0'\n[[channel]]\nfpss = 3\n");
    let missing = folder.path().join("missing.toml");
    let source = folder.path().join("source.toml");
    let text = "http = '127.0.0.1:0'\n[[channel]]\nsource = 'clip.mjpeg'";
    fs::write(&source, text).unwrap();
    fs::write(folder.path().join("clip.mjpeg"), "not a picture").unwrap();
    for (file, part) in [
        (&path, ":3:1: unknown key fpss; did you mean fps?"),
        (&missing, ": No such file or directory"),
        (&source, ":3:10: source = "),
    ] {
        let (complaint, code) = complaint(&format!("--config {}", file.display()));
        assert_eq!(code, Some(2), "{complaint}");
        let expected = format!("{}{part}", file.display());
        assert!(complaint.contains(&expected), "{complaint}");
        let own = complaint.lines().filter(|l| l.starts_with("broadcaster: "));
        assert_eq!(own.count(), 1, "{complaint}");
    }
}

#[test]
fn a_program_with_two_channels_prints_a_block_for_each() {
    let (_folder, path) = file(
        "[[channel]]\nname = 'yard'\nsource = 'pattern'\n\
         [[channel]]\nname = 'lab'\nsource = 'pattern'\nsize = '320x240'\nfps = 5\n",
    );
    let line = format!(
        "--config {} --http 127.0.0.1:0 --tcp 127.0.0.1:0",
        path.display()
    );
    let (_program, lines) = start_and_read(&mut command(&line), 8);
    assert_eq!(lines[0], "source  test pattern 640x480 at 30 fps");
    let http = lines[1].strip_prefix("page    ").unwrap();
    assert_eq!(lines[2], format!("stream  {http}live/yard.mjpeg"));
    assert_eq!(lines[4], "source  test pattern 320x240 at 5 fps");
    assert_eq!(lines[5], format!("page    {http}watch/lab"));
    assert_eq!(lines[6], format!("stream  {http}live/lab.mjpeg"));
    assert_eq!(lines[7], lines[3].replace("/yard", "/lab"));
}

#[test]
fn who_opens_it_to_others_is_told_so() {
    for (line, is_told) in [
        ("--http 0.0.0.0:0 --open", true),
        ("--http 127.0.0.1:0 --open", false),
    ] {
        let line = format!("{line} --tcp 127.0.0.1:0 --source pattern");
        let (mut program, _) = start_and_read(&mut command(&line), 4);
        interrupt(&program);
        let mut log = String::new();
        program
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        let warning = "WARN --open: everybody who can reach 0.0.0.0:";
        assert_eq!(log.contains(warning), is_told, "{log}");
        assert_eq!(log.contains("everybody"), is_told, "{log}");
    }
}

#[test]
fn the_example_has_every_key_and_holds_as_it_is_and_with_all_examples_in_force() {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let plain = printed(command("--config").arg(EXAMPLE));
    assert!(plain.matches("[[channel]]").count() >= 2, "{plain}");
    // What follows # without a space is an example for a key that has no default.
    let all: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(entry) if !entry.starts_with([' ', '#']) => entry,
            _ => line,
        })
        .collect();
    for key in keys::keys() {
        let begin = format!("{} = ", key.name);
        assert!(all.iter().any(|line| line.starts_with(&begin)), "{begin}");
    }
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/");
    let (_folder, path) = file(&all.join("\n").replace("assets/", assets));
    let in_force = printed(command("--config").arg(&path));
    assert!(in_force.contains("\nmax_viewers = 500 "), "{in_force}");
}

#[test]
fn help_teaches_the_file() {
    let help = String::from_utf8(output("--help").stdout).unwrap();
    for part in [
        "--config <FILE>",
        "[env: FRAMECAST_CONFIG=]",
        "--print-config",
        "--config framecast.toml",
        "Options of a channel:",
        "[[channel]]",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
