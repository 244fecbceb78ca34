//! The harness of the black-box suites.
//!
//! It uses no library of this project: suites start programs, as users do, and look at what they print, return and leave.
//! A test is
//!
//! ```no_run
//! # use suite::host;
//! #[test]
//! fn says_its_own_name() {
//!     host(|host| {
//!         host.chapter(1, ["run", "--hostname", "box", "hostname"]).assert().success().stdout("box\n");
//!     });
//! }
//! ```
//!
//! [`host`] starts the test once more inside a *virtual host* (see the program `virtual-host`): a machine of its own, in which
//! it may do what it likes, and which is searched for leftovers when it ends. In reading order:
//!
//! * [`host`](mod@host): in and out of the virtual host; skipping.
//! * [`ordinary`]: what of all this an ordinary user cannot do.
//! * [`program`]: starting programs, in front and in the background.
//! * [`quiet`]: waiting until nothing moves, and seeing that nothing will.
//! * [`expect`]: what is said about a program's end in one line.
//! * [`process`]: other processes, by their numbers.
//! * [`subject`]: one way to run a command in a container, for chapters, the engine, and other runtimes.
//! * [`exercise`](mod@exercise): tests that speak to a learner.
//! * [`root`]: a root directory with busybox and the payload.
//! * [`canary`]: what must be the same after an attack.
//! * [`image`]: images as archives.
//! * [`container`]: containers of the engine that live while a test goes on.
//! * [`registry`]: a real registry.
//! * [`terminal`]: a program at a terminal.
//! * [`liar`]: an HTTP server that follows a script, for faults.
//!
//! What it never does: measure time. Waiting is for a condition; only the limit after which a test is hung is in seconds.

pub mod canary;
pub mod container;
pub mod exercise;
pub mod expect;
pub mod host;
pub mod image;
pub mod liar;
pub mod ordinary;
pub mod process;
pub mod program;
pub mod quiet;
pub mod registry;
pub mod root;
pub mod subject;
pub mod terminal;

pub use canary::Canary;
pub use exercise::exercise;
pub use host::{Host, host, skip};
pub use program::{Background, eventually};
pub use subject::Subject;
pub use terminal::Terminal;
