//! A volume of Kubernetes, as a container sees it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A volume of a `ConfigMap`, or with projected tokens, written in the steps of a kubelet: a new folder with all files, the
/// link `..data` renamed over the old one, links for the names, and then the old folder goes.
#[derive(Debug)]
pub struct Volume {
    dir: TempDir,
    count: usize,
}

impl Volume {
    /// A volume without files, as it is before the kubelet comes.
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), count: 0 }
    }

    /// The folder that a container sees.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file, as a container names it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces all files.
    pub fn project(&mut self, files: &[(&str, &str)]) {
        self.count += 1;
        let version = format!("..2026_11_21_12_00_00.{}", self.count);
        fs::create_dir(self.join(&version)).unwrap();
        for (name, text) in files {
            let path = self.join(&version).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let old = fs::read_link(self.join("..data")).ok();
        symlink(&version, self.join("..data_tmp")).unwrap();
        fs::rename(self.join("..data_tmp"), self.join("..data")).unwrap();
        let tops: Vec<&str> = files.iter().filter_map(|(name, _)| name.split('/').next()).collect();
        for top in &tops {
            if self.join(top).symlink_metadata().is_err() {
                symlink(Path::new("..data").join(top), self.join(top)).unwrap();
            }
        }
        for entry in fs::read_dir(self.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("..") && !tops.contains(&name.as_str()) {
                fs::remove_file(self.join(&name)).unwrap();
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.join(old.to_str().unwrap())).unwrap();
        }
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self::new()
    }
}
