//! `minidocker ps`.

use anyhow::Result;
use clap::Args;

use crate::container::Container;
use crate::description::Description;
use crate::discard::empty_bin;
use crate::format::{ago, duration, say, since, table};
use crate::id;
use crate::life;
use crate::root::Root;
use crate::state::State;
use crate::status::{self, Status};

/// List containers.
#[derive(Args)]
pub struct Ps {
    /// Those that do not run as well
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Only the last one made, running or not
    #[arg(short, long)]
    latest: bool,
    /// Only the last N made, running or not
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Do not shorten ids and commands
    #[arg(long)]
    no_trunc: bool,
}

/// One line of the list.
struct Row {
    id: String,
    created: String,
    cells: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Ps) -> Result<i32> {
    let _ = empty_bin(root); // what cannot be deleted hides no container
    let limit = if args.latest { Some(1) } else { args.last };
    let all = args.all || limit.is_some();
    let mut rows: Vec<Row> = Container::all(root)?.iter().filter_map(|container| row(container, all, args)).collect();
    rows.sort_by(|a, b| b.created.cmp(&a.created));
    rows.truncate(limit.unwrap_or(usize::MAX));
    if args.quiet {
        for row in rows {
            say(if args.no_trunc { &row.id } else { id::short(&row.id) })?;
        }
        return Ok(0);
    }
    let header = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"].map(String::from).to_vec();
    let cells: Vec<Vec<String>> = [header].into_iter().chain(rows.into_iter().map(|row| row.cells)).collect();
    say(table(&cells))?;
    Ok(0)
}

/// A container's line. One that is damaged is shown as that and hides no other; one that was removed while we looked is
/// not there.
fn row(container: &Container, all: bool, args: &Ps) -> Option<Row> {
    let shown_id = |id: &str| if args.no_trunc { id.to_string() } else { id::short(id).to_string() };
    let looked = container.description().and_then(|description| Ok((description, status::of(container)?)));
    let Ok((description, (status, state))) = looked else {
        let there = container.directory().exists();
        let mut cells = vec![String::new(); 7];
        cells[0] = shown_id(container.id());
        cells[4] = "Damaged (rm -f removes it)".into();
        return (there && all).then(|| Row { id: container.id().into(), created: String::new(), cells });
    };
    if status == Status::Lost && description.auto_remove && life::finish_lost(container).is_ok_and(|done| done) {
        return None; // its monitor would have removed it
    }
    if !all && !status.is_running() {
        return None;
    }
    let cells = vec![
        shown_id(&description.id),
        description.image.clone(),
        command_text(&description.argv, args.no_trunc),
        ago(&description.created),
        status_text(status, &state, status.is_running() && status::is_paused(&description)),
        ports(&description, &state, status),
        description.name.clone(),
    ];
    Some(Row { id: description.id, created: description.created, cells })
}

/// Docker's COMMAND column: `"sh -c 'echo hello >…"`, twenty characters between double quotes.
fn command_text(argv: &[String], whole: bool) -> String {
    let quote = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    // The first word stands bare, whatever is in it.
    let words: Vec<String> = argv.iter().take(1).cloned().chain(argv.iter().skip(1).map(quote)).collect();
    let text = words.join(" ");
    match whole || text.chars().count() <= 20 {
        true => format!("{text:?}"),
        false => format!("{:?}", text.chars().take(19).chain(['…']).collect::<String>()),
    }
}

/// Docker's STATUS column.
pub fn status_text(status: Status, state: &State, paused: bool) -> String {
    let lasted = |time: &str| since(time).map(duration).unwrap_or_default();
    match status {
        Status::Created | Status::Starting => "Created".into(),
        Status::Running | Status::Unmonitored if paused => format!("Up {} (Paused)", lasted(&state.started)),
        Status::Running => format!("Up {}", lasted(&state.started)),
        Status::Unmonitored => format!("Up {} (unmonitored)", lasted(&state.started)),
        Status::Exited => format!("Exited ({}) {}", state.exit_code, ago(&state.finished)),
        Status::Lost => "Dead (its monitor was killed)".into(),
    }
}

/// Docker's PORTS column: `0.0.0.0:8080->80/tcp, 443/tcp`.
fn ports(description: &Description, state: &State, status: Status) -> String {
    if !status.is_running() {
        return String::new();
    }
    let published = &state.endpoint.ports;
    let mut texts: Vec<String> = published.iter().map(ToString::to_string).collect();
    let is_published = |exposed: &str| published.iter().any(|port| port.inside() == exposed);
    texts.extend(description.exposed_ports.iter().filter(|exposed| !is_published(exposed)).cloned());
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_docker_shows_them() {
        let show = |words: &[&str]| command_text(&words.iter().map(ToString::to_string).collect::<Vec<_>>(), false);
        assert_eq!(show(&["sleep", "100"]), r#""sleep 100""#);
        assert_eq!(show(&["sh", "-c", "echo hello"]), r#""sh -c 'echo hello'""#);
        assert_eq!(show(&["sh", "-c", "echo hello > /index.html"]), r#""sh -c 'echo hello >…""#);
        assert_eq!(show(&["sh", "-c", "echo \"a b\" 12"]), r#""sh -c 'echo \"a b\" 1…""#);
    }
}
