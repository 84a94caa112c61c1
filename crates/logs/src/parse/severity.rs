//! Words and numbers for severity, as the numbers of the OpenTelemetry log data model: TRACE is 1 to
//! 4, DEBUG 5 to 8, INFO 9 to 12, WARN 13 to 16, ERROR 17 to 20, FATAL 21 to 24.

/// The number of a word that loggers use, in any case; `None` for other words.
#[must_use]
pub fn by_word(word: &str) -> Option<u8> {
    let mut lower = [0; 13];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" | b"trc" | b"t" | b"finest" | b"verbose" | b"silly" => 1,
        b"finer" => 3,
        b"debug" | b"dbg" | b"d" | b"fine" => 5,
        b"config" => 8,
        b"info" | b"inf" | b"i" | b"information" | b"informational" => 9,
        b"notice" => 10,
        b"warn" | b"warning" | b"wrn" | b"w" => 13,
        b"error" | b"err" | b"e" | b"severe" | b"fail" => 17,
        b"crit" => 18,
        b"alert" => 19,
        b"fatal" | b"ftl" | b"f" | b"critical" | b"panic" | b"dpanic" | b"emerg" | b"emergency" => {
            21
        }
        _ => return None,
    })
}

/// The number of a level of bunyan and pino: 10 (trace) to 60 (fatal).
#[must_use]
pub fn by_level(level: &str) -> Option<u8> {
    match level.as_bytes() {
        [b'1', b'0'..=b'9'] => Some(1),
        [b'2', b'0'..=b'9'] => Some(5),
        [b'3', b'0'..=b'9'] => Some(9),
        [b'4', b'0'..=b'9'] => Some(13),
        [b'5', b'0'..=b'9'] => Some(17),
        b"60" => Some(21),
        _ => None,
    }
}

/// The number and the word of the severity in a syslog priority.
#[must_use]
pub fn by_priority(priority: u8) -> (u8, &'static str) {
    match priority % 8 {
        0 => (21, "emerg"),
        1 => (19, "alert"),
        2 => (18, "crit"),
        3 => (17, "err"),
        4 => (13, "warning"),
        5 => (10, "notice"),
        6 => (9, "info"),
        _ => (5, "debug"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_numbers_of_the_data_model() {
        let cases = [
            ("trace", 1),
            ("FINER", 3),
            ("DEBUG", 5),
            ("D", 5),
            ("Information", 9),
            ("INFO", 9),
            ("informational", 9),
            ("notice", 10),
            ("Warning", 13),
            ("error", 17),
            ("SEVERE", 17),
            ("crit", 18),
            ("alert", 19),
            ("CRITICAL", 21),
            ("emerg", 21),
            ("Fatal", 21),
        ];
        for (word, number) in cases {
            assert_eq!(by_word(word), Some(number), "{word}");
        }
        for word in ["", "loud", "informationally", "\u{130}nfo", "in fo"] {
            assert_eq!(by_word(word), None, "{word}");
        }
    }

    #[test]
    fn levels_of_bunyan_go_from_10_to_60() {
        let levels = ["9", "10", "20", "30", "35", "40", "50", "59", "60", "61", "100", "-30"];
        let numbers = [0, 1, 5, 9, 9, 13, 17, 17, 21, 0, 0, 0];
        assert_eq!(levels.map(|level| by_level(level).unwrap_or(0)), numbers);
    }

    #[test]
    fn syslog_counts_down() {
        let numbers = [0, 1, 2, 3, 4, 5, 6, 7, 191].map(|priority| by_priority(priority).0);
        assert_eq!(numbers, [21, 19, 18, 17, 13, 10, 9, 5, 5]);
    }
}
