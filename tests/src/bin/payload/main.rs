//! `payload WORD [ARGS…]`: the program that suites run inside containers.
//!
//! One static file that works in an empty root: it shows what a process can see and attacks what it can reach. Each answer
//! is a few lines of plain text, so that a test can compare it. An attack does no harm where it succeeds: suites also let it
//! succeed, where the protection is absent, to see that it is one.

mod attacks;
mod calls;
mod devices;
mod facts;
mod hunt;
mod kernel;
mod network;
mod portrait;
mod resources;
mod signals;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("payload: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run(words: &[&str]) -> Result<u8> {
    let done = |result: Result<()>| result.map(|()| 0);
    match words {
        ["exit", code] => number(code),
        ["echo", rest @ ..] => {
            println!("{}", rest.join(" "));
            Ok(0)
        }
        ["cat"] => done(std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).map(drop).context("copy")),
        ["write", path, text] => done(std::fs::write(path, text).with_context(|| format!("write {path}"))),

        ["facts"] => done(facts::process()),
        ["fds"] => done(facts::descriptors()),
        ["portrait"] => done(portrait::portrait()),
        ["privileges"] => done(facts::privileges()),
        ["tty"] => done(facts::terminal()),

        ["hog", bytes] => done(resources::hog(number(bytes)?)),
        ["huge", pages] => done(resources::huge(number(pages)?)),
        ["hold", bytes] => done(resources::hold(number(bytes)?)),
        ["nest", directory, depth] => done(resources::nest(directory, number(depth)?)),
        ["burn", milliseconds] => done(resources::burn(number(milliseconds)?)),
        ["bomb", most] => done(resources::bomb(number(most)?)),

        ["node", path, kind, major, minor, access] => {
            done(devices::node(path, kind, number(major)?, number(minor)?, access))
        }
        ["disk", direction @ ("read" | "write"), path, blocks] => done(devices::disk(direction, path, number(blocks)?)),
        ["cache", path, bytes] => done(devices::cache(path, number(bytes)?)),

        ["wait"] => signals::wait(),
        ["trap", names @ ..] => signals::trap(names),
        ["ignore", names @ ..] => signals::ignore(names),
        ["raise", name] => signals::raise(name),
        ["zombies", count] => done(signals::zombies(number(count)?)),
        ["kill-all"] => done(signals::kill_all()),

        ["tcp-echo", port] => done(network::tcp_echo(number(port)?)),
        ["udp-echo", port] => done(network::udp_echo(number(port)?)),
        ["http", port, body] => done(network::http(number(port)?, body)),
        ["tcp", address, text] => done(network::tcp(address, text)),
        ["udp", address, text] => done(network::udp(address, text)),

        ["escape-chroot"] => done(attacks::escape_chroot()),
        ["calls"] => done(calls::calls()),
        ["calls-of-32-bit"] => done(calls::of_32_bit()),
        ["calls-of-x32"] => done(calls::of_x32()),
        ["hunt", stop] => done(hunt::engine(stop)),
        ["overwrite-engine"] => done(hunt::overwrite_engine()),
        ["exchange", one, other] => hunt::exchange(one, other),
        ["open-for-writing", paths @ ..] => done(kernel::open_for_writing(paths)),
        ["file-handle", path] => done(kernel::file_handle(path)),
        ["open-handle", near, handle] => done(kernel::open_handle(near, handle)),
        ["with-key", name, command @ ..] => kernel::with_key(name, command),
        ["find-key", name] => done(kernel::find_key(name)),
        ["type", text] => done(kernel::type_into_terminal(text)),
        ["as", uid, command @ ..] => attacks::run_as(number(uid)?, command),
        ["join", pid, command @ ..] => attacks::join(number(pid)?, command),
        ["without-user-namespaces", command @ ..] => attacks::without_user_namespaces(command),
        _ => bail!("unknown words {words:?}"),
    }
}

fn number<T: std::str::FromStr<Err = std::num::ParseIntError>>(word: &str) -> Result<T> {
    word.parse().with_context(|| format!("{word} is not a number"))
}
