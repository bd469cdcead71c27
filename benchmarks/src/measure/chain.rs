//! Who serves: the programs of a model, in the order in which frames go through them.

use anyhow::{Context as _, anyhow};
use common::sampler::Role;

use super::{Setting, role};
use crate::broker;
use crate::contender::{self, Contender, Hindrance, Server, Workload};
use crate::load::Protocol;
use crate::program::Program;
use crate::scenario::{Arm, Load, Model};

/// What the broadcaster says before an address: that of its native protocol, of its stream over HTTP,
/// and of its exchange.
const NATIVE: &str = "native  ";
const STREAM: &str = "stream  ";
const AMQP: &str = "amqp    ";
const BROADCASTER: &str = "broadcaster --log warn --http 127.0.0.1:0";
const TCP: &str = "--tcp 127.0.0.1:0";

/// Running programs. Ended when dropped, the last first.
#[derive(Debug)]
pub(super) struct Chain {
    programs: Vec<(&'static str, Program)>,
    server: Option<Server>,
    broker: Vec<u32>,
    /// Where viewers find the frames.
    pub(super) url: String,
}

/// What is missing for an arm, if anything is. Nothing is installed behind anybody's back.
#[must_use]
pub fn missing(arm: &Arm) -> Option<String> {
    match arm.model {
        Model::Rabbitmq | Model::Edge => broker::missing(),
        Model::Ustreamer => contender::missing_ustreamer(),
        Model::Ring | Model::Bare | Model::Webcam => None,
    }
}

impl Chain {
    pub(super) fn start(setting: &Setting<'_>) -> anyhow::Result<Self> {
        let Setting { arm, load, .. } = setting;
        let mut chain = Self {
            programs: Vec::new(),
            server: None,
            broker: Vec::new(),
            url: String::new(),
        };
        match arm.model {
            Model::Ring => {
                let origin = Program::start(format!("{} {TCP}", origin(arm, load)))?;
                chain.add_with_ring("broadcaster", origin, load)?;
            }
            Model::Rabbitmq | Model::Edge => chain.start_exchange(setting)?,
            Model::Bare | Model::Webcam | Model::Ustreamer => {
                let server = contender(arm.model).start(&workload(load))?;
                chain.url = server.target.to_string();
                chain.server = Some(server);
            }
        }
        Ok(chain)
    }

    fn start_exchange(&mut self, setting: &Setting<'_>) -> anyhow::Result<()> {
        let Setting { arm, load, .. } = setting;
        let broker = setting.broker.context("there is no broker")?;
        let (exchange, url) = (broker.new_exchange(), &broker.url);
        self.broker = broker.roots()?;
        let mut origin = Program::start(format!(
            "{} --model rabbitmq --amqp {url} --exchange {exchange}",
            origin(arm, load)
        ))?;
        origin.line_after(AMQP)?;
        self.programs.push(("broadcaster", origin));
        self.url = format!("{url}?exchange={exchange}");
        if arm.model == Model::Edge {
            let source = &self.url;
            let edge = Program::start(format!("{BROADCASTER} --source {source} {TCP}"))?;
            self.add_with_ring("edge", edge, load)?;
        }
        Ok(())
    }

    /// One more broadcaster with a ring; viewers go to it.
    fn add_with_ring(
        &mut self,
        name: &'static str,
        mut program: Program,
        load: &Load,
    ) -> anyhow::Result<()> {
        self.url = program.line_after(match load.protocol {
            Protocol::Tcp => NATIVE,
            Protocol::Http => STREAM,
        })?;
        self.programs.push((name, program));
        Ok(())
    }

    /// All of them, as roles.
    pub(super) fn roles(&self) -> Vec<Role> {
        let programs = self.programs.iter();
        let mut roles: Vec<_> = programs
            .map(|(name, program)| role(name, vec![program.pid()]))
            .collect();
        roles.extend(
            self.server
                .iter()
                .map(|server| role("server", vec![server.pid()])),
        );
        if !self.broker.is_empty() {
            roles.insert(1, role("broker", self.broker.clone()));
        }
        roles
    }

    /// What is known about the end of one of them.
    pub(super) fn failed(&mut self, name: &str) -> anyhow::Error {
        let program = self.programs.iter_mut().find(|(its, _)| *its == name);
        match program {
            Some((_, program)) => program.failed("ended in the middle"),
            None => anyhow!("{name} ended in the middle"),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Whoever reads goes before whom it reads from: else it would tell of a loss.
        while self.programs.pop().is_some() {}
    }
}

/// The broadcaster whose pictures everybody gets.
fn origin(arm: &Arm, load: &Load) -> String {
    let Load {
        bytes,
        size,
        fps,
        frames_per_payload,
        ..
    } = load;
    let driver = arm
        .driver
        .map(|driver| format!(" --driver {}", driver.name()));
    let workers = arm.workers.map(|count| format!(" --workers {count}"));
    format!(
        "{BROADCASTER} --source pattern?bytes={bytes} --size {size} --fps {fps} \
         --frames-per-payload {frames_per_payload}{}{}",
        driver.unwrap_or_default(),
        workers.unwrap_or_default(),
    )
}

const fn contender(model: Model) -> Contender {
    match model {
        Model::Webcam => Contender::Webcam,
        Model::Ustreamer => Contender::Ustreamer,
        _ => Contender::Bare,
    }
}

fn workload(load: &Load) -> Workload {
    Workload {
        protocol: load.protocol,
        viewers: load.viewers,
        bytes: load.bytes,
        fps: load.fps,
        frames_per_payload: load.frames_per_payload,
        hindrance: Hindrance::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Driver;

    #[test]
    fn an_origin_is_started_as_the_arm_and_the_load_say() {
        let load = Load {
            viewers: 5,
            bytes: 8_000,
            size: "64x48".to_owned(),
            fps: 15,
            frames_per_payload: 2,
            stopped: 0,
            protocol: Protocol::Tcp,
        };
        let mut arm = Arm {
            name: "a".to_owned(),
            model: Model::Ring,
            driver: None,
            workers: None,
            each_number_of_workers: false,
        };
        let plain = "--source pattern?bytes=8000 --size 64x48 --fps 15 --frames-per-payload 2";
        assert_eq!(origin(&arm, &load), format!("{BROADCASTER} {plain}"));
        (arm.driver, arm.workers) = (Some(Driver::Multiplex), Some(3));
        let line = format!("{BROADCASTER} {plain} --driver multiplex --workers 3");
        assert_eq!(origin(&arm, &load), line);
    }
}
