//! What users write in `-v`, `--mount`, `--tmpfs` and `--device`: whatever it is, it is read as it was meant or refused.

use std::collections::HashSet;
use std::path::Path;

use proptest::prelude::*;
use rootfs::in_root::clean;
use rootfs::{DeviceWish, Mount, MountSource, MountWish, Volume, VolumeSource, default_mounts, parse_tmpfs, plan};

/// What comes near enough to be taken for something: the words and signs of these options, in any order.
fn near() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "/",
        ":",
        ",",
        "=",
        "\"",
        ".",
        "..",
        "a",
        "db",
        "data",
        "ro",
        "rw",
        "z",
        "rshared",
        "nocopy",
        "idmap",
        "type",
        "bind",
        "volume",
        "tmpfs",
        "src",
        "dst",
        "readonly",
        "size",
        "mode",
        "1m",
        "0",
        "rwm",
        "\0",
        " ",
        "ä",
        "proc",
        "bind-recursive",
        "volume-subpath",
        "tmpfs-size",
    ]);
    prop::collection::vec(words, 0..12).prop_map(|words| words.concat())
}

/// A component of a path, with everything that a file's name may hold.
fn name() -> impl Strategy<Value = String> {
    "[^/\0]{1,8}".prop_filter("a name, not a direction", |name| name != "." && name != "..")
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

/// The same without what `-v` has a meaning for.
fn plain_path() -> impl Strategy<Value = String> {
    path().prop_map(|path| path.replace([':', ','], "_"))
}

/// A field of `--mount` as a program would write it.
fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

fn is_sound(volume: &Volume) {
    assert!(volume.destination.is_absolute() && volume.destination != Path::new("/"));
    assert_eq!(clean(&volume.destination), volume.destination);
    match &volume.source {
        VolumeSource::Host(path) => assert!(path.is_absolute()),
        VolumeSource::Named(name) => assert!(name.len() >= 2 && !name.contains('/') && !name.starts_with('.')),
        VolumeSource::Anonymous => {}
    }
    assert!(volume.subpath.is_relative() && !volume.subpath.starts_with(".."));
}

proptest! {
    #[test]
    fn nothing_breaks_the_reading(text in prop_oneof![any::<String>(), near()]) {
        if let Ok(volume) = text.parse::<Volume>() {
            is_sound(&volume);
        }
        match text.parse::<MountWish>() {
            Ok(MountWish::Volume(volume)) => is_sound(&volume),
            Ok(MountWish::Tmpfs(mount)) => assert!(mount.destination.is_absolute()),
            Err(_) => {}
        }
        if let Ok(mount) = parse_tmpfs(&text) {
            assert!(mount.destination.is_absolute() && mount.source == MountSource::Tmpfs);
        }
        if let Ok(wish) = text.parse::<DeviceWish>() {
            assert!(wish.container.is_absolute() && wish.access != 0);
        }
    }

    #[test]
    fn v_means_what_it_says(source in plain_path(), destination in plain_path(), read_only: bool, slave: bool) {
        let mut options = Vec::new();
        options.extend(read_only.then_some("ro"));
        options.extend(slave.then_some("rslave"));
        let text = match options.is_empty() {
            true => format!("{source}:{destination}"),
            false => format!("{source}:{destination}:{}", options.join(",")),
        };
        let volume: Volume = text.parse().unwrap();
        prop_assert_eq!(volume.source, VolumeSource::Host(source.into()));
        prop_assert_eq!(volume.destination, Path::new(&destination));
        prop_assert_eq!(volume.attributes.is_empty(), !read_only);
        prop_assert_eq!(volume.propagation == rootfs::Propagation::Slave, slave);
        prop_assert!(volume.create);
    }

    #[test]
    fn a_quoted_field_of_mount_holds_anything(source in path(), destination in path(), readonly: bool) {
        let fields = [quoted(&format!("src={source}")), quoted(&format!("dst={destination}"))].join(",");
        let text = format!("type=bind,{fields}{}", if readonly { ",readonly" } else { "" });
        let Ok(MountWish::Volume(volume)) = text.parse() else { panic!("{text} is refused") };
        prop_assert_eq!(volume.source, VolumeSource::Host(source.into()));
        prop_assert_eq!(volume.destination, Path::new(&destination));
        prop_assert_eq!(volume.attributes.is_empty(), !readonly);
    }

    #[test]
    fn a_device_is_written_as_it_is_read(host in plain_path(), container in plain_path(), letters in "r?w?m?") {
        prop_assume!(!letters.is_empty());
        let wish: DeviceWish = format!("{host}:{container}:{letters}").parse().unwrap();
        prop_assert_eq!(wish.to_string(), format!("{host}:{container}:{letters}"));
        prop_assert_eq!(wish.to_string().parse::<DeviceWish>().unwrap(), wish);
    }

    #[test]
    fn a_plan_is_in_order_and_covers_nothing_of_the_kernels(destinations in prop::collection::vec(path(), 0..8)) {
        let user: Vec<Mount> = destinations.iter().map(|destination| Mount::bind("/srv", destination)).collect();
        let Ok(plan) = plan(default_mounts(), user) else { return Ok(()) };
        let places: Vec<&Path> = plan.iter().map(|mount| mount.destination.as_path()).collect();
        prop_assert_eq!(places.iter().collect::<HashSet<_>>().len(), places.len(), "two on one place");
        for (index, place) in places.iter().enumerate() {
            let hidden = places[index + 1..].iter().any(|later| place.starts_with(later));
            prop_assert!(!hidden, "{place:?} is mounted before what covers it");
        }
    }
}
