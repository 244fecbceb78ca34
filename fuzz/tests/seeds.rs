//! Every target on its seeds: where the search begins, and what once failed.

use std::fs;
use std::path::Path;

#[test]
fn every_target_bears_its_seeds() {
    for (name, target) in fuzz::TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let seeds: Vec<_> = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory:?}: {e}")).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let path = seed.expect("a file").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("read a seed"));
        }
    }
}
