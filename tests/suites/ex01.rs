//! The exercises of chapter 1. Each test belongs to one of them (`chapters/01-namespaces/exercises.toml`).

use suite::exercise;

#[test]
fn the_name_is_set_inside() {
    exercise("1.1", |it| {
        let inside = it.run(&["--hostname", "box"], &["hostname"]);
        it.expects("`hostname` inside prints box")
            .observed(&inside)
            .means("sethostname(2) was not called, or not in the child")
            .holds(inside.printed() == "box");
    });
}
