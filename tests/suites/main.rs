//! All suites. Each module names what it holds to account; `host` gives every test a machine of its own.

mod expect;

mod harness;

mod world;

mod ch01;
