//! The sampler against processes that say themselves what they have used.
//!
//! The worker is this very program, started as `the_worker`: it burns a known amount of processor
//! time, holds a known amount of memory, writes a known amount to a disk, and reports by its own
//! getrusage(2). Figures may differ by 5 %.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::sampler::{Role, Sample, Sampler};
use common::{Clock, SystemClock};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const BURNT: Duration = Duration::from_millis(600);
const HELD_BYTES: usize = 64 << 20;
const WRITTEN_BYTES: usize = 32 << 20;
/// How far a figure may be off: 5 %.
const TOLERANCE: f64 = 0.05;
const PATIENCE: Duration = Duration::from_secs(20);

/// What the worker has used, by its own account.
fn own_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.try_into().unwrap())
}

fn wait_for_a_line() {
    std::io::stdin().lines().next();
}

/// The worker's life: it says "ready", and after a line works, reports, and stays until another.
#[test]
#[ignore = "a part of the other tests, which start it"]
fn the_worker() {
    println!("\nready {}", std::process::id());
    wait_for_a_line();
    let before = own_cpu();
    let held = std::hint::black_box(vec![1_u8; HELD_BYTES]);
    // Beside this program, where compilers write: a real disk, unlike /tmp on many machines.
    let path = std::env::current_exe().unwrap();
    let path = path.with_extension(std::process::id().to_string());
    // No disk.
    let mut nowhere = File::create("/dev/null").unwrap();
    nowhere.write_all(&held).unwrap();
    let mut file = File::create(&path).unwrap();
    file.write_all(&held[..WRITTEN_BYTES]).unwrap();
    file.sync_all().unwrap();
    std::fs::remove_file(path).unwrap();
    while own_cpu() - before < BURNT {
        std::hint::black_box((0..10_000_u64).sum::<u64>());
    }
    println!("used {}", (own_cpu() - before).as_micros());
    wait_for_a_line();
    drop(held);
}

/// A worker, or a shell that starts one; killed at the latest when dropped.
struct Family {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Family {
    /// Starts a worker, in place of `"$@"` in a shell script.
    fn start(script: &str) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args("--exact the_worker --ignored --nocapture --test-threads 1".split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets whoever waits for a line go on.
    fn go(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// The number said after this word, on a line of its own.
    fn hear(&mut self, word: &str) -> u64 {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if let Some(number) = line.trim_end().strip_prefix(word) {
                return number.trim_start().parse().unwrap();
            }
            line.clear();
        }
        panic!("never heard {word}");
    }

    /// What the worker says it has used.
    fn used(&mut self) -> Duration {
        Duration::from_micros(self.hear("used"))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // The worker ends with its input, and the shell with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn one(sampler: &mut Sampler) -> Sample {
    sampler.sample(&SystemClock).unwrap().remove(0)
}

/// Samples until it holds.
fn sample_until(sampler: &mut Sampler, holds: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
    let begun = SystemClock.monotonic();
    loop {
        let samples = sampler.sample(&SystemClock).unwrap();
        if holds(&samples) {
            return samples;
        }
        let elapsed = SystemClock.monotonic().since(begun);
        assert!(elapsed < PATIENCE, "{samples:?}");
        std::thread::yield_now();
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn assert_near(what: &str, found: u64, wanted: u64) {
    let off = found as f64 / wanted as f64 - 1.0;
    assert!(off.abs() < TOLERANCE, "{what}: {found} for {wanted}");
}

fn assert_cpu(found: Duration, wanted: Duration) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
    assert_near("µs of CPU", micros(found), micros(wanted));
}

#[test]
fn a_worker_has_used_what_it_says() {
    let mut worker = Family::start(r#"exec "$@""#);
    let mut sampler = Sampler::of(worker.pid()).unwrap();
    worker.hear("ready");
    let earlier = one(&mut sampler);
    worker.go();
    let used = worker.used();
    let later = one(&mut sampler);

    assert!(used >= BURNT);
    let interval = later.since(&earlier);
    assert_cpu(interval.cpu, used);
    let grown = u64::try_from(interval.pss_delta_bytes.unwrap()).unwrap();
    assert_near("bytes of memory", grown, HELD_BYTES as u64);
    let written = interval.written_bytes.unwrap();
    assert_near("bytes written", written, WRITTEN_BYTES as u64);
    assert_eq!(later.processes, 1);
    assert!(later.threads >= 1);
}

#[test]
fn a_child_that_was_seen_counts_once_after_its_end() {
    let mut family = Family::start(r#"sh -c '"$@"; true' sh "$@"; echo reaped 0; read line"#);
    let mut sampler = Sampler::of(family.pid()).unwrap();
    family.hear("ready");
    let earlier = one(&mut sampler);
    assert_eq!(earlier.processes, 3, "a shell, its shell, the worker");
    family.go();
    let used = family.used();
    let working = one(&mut sampler);
    family.go();
    family.hear("reaped");
    let later = one(&mut sampler);

    assert_eq!(later.processes, 1);
    assert!(later.cpu >= working.cpu && later.written_bytes >= working.written_bytes);
    for sample in [working, later] {
        assert_cpu(sample.since(&earlier).cpu, used);
        let written = sample.since(&earlier).written_bytes.unwrap();
        assert_near("bytes written", written, WRITTEN_BYTES as u64);
    }
    let memory = working.pss_bytes.unwrap() - later.pss_bytes.unwrap();
    assert!(memory > HELD_BYTES as u64, "given back: {memory}");
}

#[test]
fn a_child_that_was_never_seen_counts_too() {
    let mut family = Family::start(r#"read line; "$@"; echo reaped 0; read line"#);
    let mut sampler = Sampler::of(family.pid()).unwrap();
    let earlier = one(&mut sampler);
    assert_eq!(earlier.processes, 1);
    // For the shell and for the worker, twice.
    for _ in 0..3 {
        family.go();
    }
    let used = family.used();
    family.hear("reaped");
    let interval = one(&mut sampler).since(&earlier);
    assert_cpu(interval.cpu, used);
    assert_near(
        "bytes written",
        interval.written_bytes.unwrap(),
        WRITTEN_BYTES as u64,
    );
}

#[test]
fn a_role_outlives_its_root() {
    let mut family = Family::start(r#"exec 3<&0; "$@" <&3 & wait"#);
    let mut sampler = Sampler::of(family.pid()).unwrap();
    family.hear("ready");
    let earlier = one(&mut sampler);
    assert_eq!(earlier.processes, 2);
    family.child.kill().unwrap();
    // Ended, and nobody has waited for it: it holds nothing more.
    let orphaned = sample_until(&mut sampler, |samples| samples[0].processes == 1);
    family.child.wait().unwrap();
    assert!(orphaned[0].cpu >= earlier.cpu);
    family.go();
    let used = family.used();
    let working = one(&mut sampler);
    assert_eq!(working.processes, 1);
    assert_cpu(working.since(&earlier).cpu, used);

    family.go();
    let ended = sample_until(&mut sampler, |samples| samples[0].processes == 0);
    assert!(ended[0].cpu >= working.cpu);
    assert_eq!((ended[0].threads, ended[0].rss_bytes), (0, 0));
    assert_eq!(ended[0].pss_bytes, Some(0));
    assert!(one(&mut sampler).cpu >= ended[0].cpu);
}

#[test]
fn a_child_of_another_role_is_not_charged_to_its_parent() {
    let mut family = Family::start(r#""$@"; echo reaped 0; read line"#);
    let worker = family.hear("ready");
    let role = |name: &str, root: u64| Role {
        name: name.to_owned(),
        roots: vec![u32::try_from(root).unwrap()],
    };
    let roles = vec![role("shell", family.pid().into()), role("worker", worker)];
    let mut sampler = Sampler::new(roles).unwrap();
    let earlier = sampler.sample(&SystemClock).unwrap();
    family.go();
    let used = family.used();
    let working = sampler.sample(&SystemClock).unwrap();
    assert_cpu(working[1].since(&earlier[1]).cpu, used);
    // It ends, and the shell reaps it.
    family.go();
    family.hear("reaped");
    let later = sampler.sample(&SystemClock).unwrap();
    let processes: Vec<u64> = later.iter().map(|sample| sample.processes).collect();
    assert_eq!(processes, [1, 0]);
    assert!(later[1].cpu >= working[1].cpu);
    let charged = later[0].since(&earlier[0]);
    assert!(charged.cpu < used / 20, "{charged:?}");
    let bytes = charged.written_bytes.unwrap();
    assert!(bytes < WRITTEN_BYTES as u64 / 20, "{charged:?}");
}

#[test]
fn a_child_of_another_role_that_works_unseen_is_not_charged_either() {
    let mut family = Family::start(r#""$@"; echo reaped 0; read line"#);
    let worker = u32::try_from(family.hear("ready")).unwrap();
    let (name, roots) = (String::new(), vec![worker]);
    let other = Role { name, roots };
    let (name, roots) = (String::new(), vec![family.pid()]);
    let mut sampler = Sampler::new(vec![Role { name, roots }, other]).unwrap();
    let earlier = sampler.sample(&SystemClock).unwrap();
    family.go();
    let used = family.used();
    family.go();
    family.hear("reaped");
    let later = sampler.sample(&SystemClock).unwrap();
    let charged = later[0].since(&earlier[0]);
    assert!(charged.cpu < used / 20, "{charged:?}");
}
