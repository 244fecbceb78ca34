//! HEALTHCHECK: a command and how often, in Go's durations.

use super::instruction::Healthcheck;
use super::parser::{Parser, Result};

impl Parser<'_> {
    pub(super) fn healthcheck(&mut self) -> Result<Healthcheck> {
        let text = self.arguments();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let kind = text[..end].to_uppercase();
        let rest = self.line.text.len() - text[end..].trim_start().len();
        let command = match (kind.as_str(), rest == self.line.text.len()) {
            ("NONE", true) if self.flags.is_empty() => None,
            ("CMD", false) => Some(self.command(rest)),
            _ => {
                let error =
                    self.error(self.rest..self.rest + end, "HEALTHCHECK takes CMD and a command, or NONE alone");
                return Err(error);
            }
        };
        let mut check = Healthcheck { command, ..Healthcheck::default() };
        for flag in &self.flags {
            let value = flag.value.as_deref().unwrap_or_default();
            let number = match flag.name.as_str() {
                "retries" => value.parse().ok().filter(|count| *count >= 0),
                _ => nanoseconds(value).filter(|time| *time == 0 || *time >= 1_000_000),
            };
            let Some(number) = number else {
                let error = self.error(flag.range.clone(), format!("--{}: cannot use {value}", flag.name));
                return Err(match flag.name.as_str() {
                    "retries" => error.help("a whole number"),
                    _ => error.help("a duration of at least 1ms, as in 30s or 1m30s"),
                });
            };
            let field = match flag.name.as_str() {
                "interval" => &mut check.interval,
                "timeout" => &mut check.timeout,
                "start-period" => &mut check.start_period,
                "start-interval" => &mut check.start_interval,
                _ => &mut check.retries,
            };
            *field = Some(number);
        }
        Ok(check)
    }
}

/// A Go duration, `1m30s`, in nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - digits);
        let unit = match &rest[digits..digits + letters] {
            "h" => 3.6e12,
            "m" => 6e10,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += rest[..digits].parse::<f64>().ok()? * unit;
        rest = &rest[digits + letters..];
    }
    // Below 2^63 the conversion is exact enough for a duration; above, it is not one.
    (!text.is_empty() && total < 9e18).then_some(total as i64)
}
