//! All suites. Each module names what it holds to account; `host` gives every test a machine of its own.

// Every suite needs it: `crate::expect` is the harness's.
use suite::expect;

mod harness;

mod world;

mod ch01;
mod ch02;
mod ch03;
mod ch04;
mod ch05;
mod ch06;
mod ch07;

mod ex01;

mod attacks;

mod as_docker;
mod attacks_layers;
mod bad_input;
mod build;
mod exec;
mod images;
mod kill9;
mod lifecycle;
mod limits;
mod messages;
mod network;
mod ordinary;
mod privileges;
mod run;
mod sharing;
mod volumes;
