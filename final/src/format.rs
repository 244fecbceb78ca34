//! Tables, times and sizes, as Docker prints them.

use std::time::Duration;

use jiff::Timestamp;
pub use namespaces::program::say;

/// A table: each column as wide as its widest cell, three spaces between, no newline at its end.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// How long ago something was, in Docker's words: `About a minute ago`. What cannot be read is shown as it is.
pub fn ago(time: &str) -> String {
    since(time).map_or_else(|| time.to_string(), |elapsed| format!("{} ago", duration(elapsed)))
}

/// How long something has lasted since `time`.
pub fn since(time: &str) -> Option<Duration> {
    let time: Timestamp = time.parse().ok()?;
    let seconds = Timestamp::now().as_second() - time.as_second();
    Some(Duration::from_secs(seconds.max(0) as u64))
}

/// A duration in Docker's words.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{minutes} minutes"),
        3600..5400 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// A size in Docker's spelling: powers of 1000, three digits.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_dockers() {
        let say = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(say(0), "Less than a second");
        assert_eq!(say(59), "59 seconds");
        assert_eq!(say(90), "About a minute");
        assert_eq!(say(180), "3 minutes");
        assert_eq!(say(4000), "About an hour");
        assert_eq!(say(7200), "2 hours");
        assert_eq!(say(86_400 * 3), "3 days");
        assert_eq!(say(86_400 * 30), "4 weeks");
        assert_eq!(say(86_400 * 400), "13 months");
    }

    #[test]
    fn sizes_are_dockers() {
        assert_eq!(size(0), "0B");
        assert_eq!(size(999), "999B");
        assert_eq!(size(4_260_000), "4.26MB");
        assert_eq!(size(117_000_000), "117MB");
        assert_eq!(size(1_100_000_000), "1.1GB");
    }

    #[test]
    fn tables_align() {
        let rows = [vec!["A".to_string(), "B".into()], vec!["long".into(), "x".into()]];
        assert_eq!(table(&rows), "A      B\nlong   x");
    }
}
