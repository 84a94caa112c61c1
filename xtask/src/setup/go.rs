//! Programs in Go, compiled from the module proxy.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::recipe::Recipe;
use super::{inventory, python, step};
use crate::failure::{Doing, Failure};
use crate::{program, workspace};

/// The oldest compiler that compiles all our programs: what Loki asks for.
const OLDEST: [u32; 3] = [1, 26, 5];

/// A program, and the module of ours that it is compiled in.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// How long it takes on two cores, for people.
    pub(super) takes: &'static str,
    /// What is compiled: `.` for `main`, or a package of a module that ours requires.
    pub(super) package: &'static str,
    /// The text of `go.mod`. What it requires fixes every other version (Go takes the lowest that
    /// is allowed), and Go's checksum database says whether they are genuine.
    pub(super) module: &'static str,
    /// The text of `main.go`, for a program that is only put together from parts.
    pub(super) main: Option<&'static str>,
    /// For the linker.
    pub(super) flags: &'static str,
}

/// Compiles those programs that are not there.
pub(super) fn install(programs: &[Program]) -> Result<(), Failure> {
    for program in programs {
        let recipe = program.recipe()?;
        if !recipe.is_done() {
            let compiler = compiler()?;
            let Program { name, version, takes, .. } = program;
            let what = format!("compiling {name} {version}, about {takes} on two cores, once");
            step(&what, || recipe.make(|| program.compile(&compiler, recipe.folder())))?;
        }
    }
    Ok(())
}

impl Program {
    fn recipe(&self) -> Result<Recipe, Failure> {
        let parts = [self.package, self.flags, self.module, self.main.unwrap_or_default()];
        let folder = workspace::cache()?.join("go").join(self.name);
        Ok(Recipe::new(folder, parts.join("\n")))
    }

    /// Compiles it to `folder/bin/NAME`, at low priority: it takes minutes of every core.
    fn compile(&self, compiler: &Path, folder: &Path) -> Result<(), Failure> {
        write(&folder.join("go.mod"), self.module)?;
        if let Some(main) = self.main {
            write(&folder.join("main.go"), main)?;
        }
        let mut build = Command::new("nice");
        build.arg(compiler).args(["build", "-mod=mod", "-p", "2", "-ldflags", self.flags, "-o"]);
        build.arg(folder.join("bin").join(self.name)).arg(self.package);
        // Nothing of the user's own Go settings changes what is compiled.
        build.current_dir(folder).env("GOFLAGS", "").env("GOWORK", "off").env("CGO_ENABLED", "0");
        program::run(&mut build).map_err(|failure| {
            failure.fix("the Go module proxy must be reachable: see `go env GOPROXY`")
        })
    }
}

/// A compiler that is new enough: the machine's own, else one that comes as a Python package.
fn compiler() -> Result<PathBuf, Failure> {
    let unpacked = PathBuf::from("/usr/local/go/bin/go");
    let own = program::find("go").into_iter().chain([unpacked]).find(|compiler| {
        let version = program::output(Command::new(compiler).args(["env", "GOVERSION"]));
        version.is_ok_and(|version| is_new_enough(&version))
    });
    if let Some(own) = own {
        return Ok(own);
    }
    python::install(&inventory::GO_PYTHON)?;
    Ok(inventory::GO_PYTHON.folder()?.join("bin/go"))
}

/// Whether a compiler that calls itself `go1.26.5` or so can be used.
fn is_new_enough(version: &str) -> bool {
    let version = version.split_whitespace().next().unwrap_or_default();
    let numbers = version.trim_start_matches("go").split('.').map(str::parse::<u32>);
    numbers.collect::<Result<Vec<_>, _>>().is_ok_and(|numbers| numbers[..] >= OLDEST[..])
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).doing(format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_is_new_enough_from_the_oldest_on() {
        let cases = [
            ("go1.19.8\n", false),
            ("go1.25.10", false),
            ("go1.26.4", false),
            ("go1.26.5", true),
            ("go1.27", true),
            ("go1.27rc1", false),
            ("go1.27.3 X:boringcrypto", true),
            ("go2.0", true),
            ("", false),
            ("devel", false),
        ];
        for (version, expected) in cases {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
