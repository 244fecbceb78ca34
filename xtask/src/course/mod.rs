//! The course: exercises, their starters, the runner for learners, the proofs for maintainers.
//!
//! Everything comes from one table per chapter and from anchors in its sources. In reading order:
//!
//! * [`table`]: `chapters/NN-x/exercises.toml`, strictly; [`row`]: one exercise of it.
//! * [`anchors`]: `// ANCHOR: ex-…` in a source; [`sources`]: those of a chapter.
//! * [`tests`]: which test says that it is whose.
//! * [`needs`]: what an exercise needs of the machine.
//! * [`starter`]: from the chapter's crate to one with holes.
//! * [`starters`]: writing them, and checking that they are fresh.
//! * [`backup`]: nothing of a learner's is overwritten without a copy.
//! * [`schedule`]: how long it takes.
//! * [`sandbox`]: where all of it runs.
//! * [`transcripts`]: the book's console blocks; [`book`]: the book itself.
//! * [`learner`], [`progress`], [`select`]: the learner's file, what is done, which exercise is meant.
//! * [`trial`], [`report`], [`screen`]: running tests, and telling how they went.
//! * [`verify`]: the proofs that the tests test; [`switch`]: the program for them.
//! * [`check`], [`guide`], [`edit`]: the learner's commands.

pub mod anchors;
pub mod backup;
pub mod book;
pub mod check;
pub mod edit;
pub mod guide;
pub mod learner;
pub mod needs;
pub mod progress;
pub mod report;
pub mod row;
pub mod sandbox;
pub mod schedule;
pub mod screen;
pub mod select;
pub mod sources;
pub mod starter;
pub mod starters;
pub mod switch;
pub mod table;
pub mod tests;
pub mod transcripts;
pub mod trial;
pub mod verify;

use crate::workspace::files;
