//! Formatting of figures: grouped digits, about three of them significant.

/// A whole number with its digits in groups of three: `361,204`.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value with about three significant digits: `9.87`, `98.7`, `987`, `9,876`.
pub(crate) fn scaled(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => grouped(v),
    }
}

/// A time given in microseconds, in the unit that suits it: `850 µs`, `21.0 ms`, `1.02 s`.
pub(crate) fn time(us: f64) -> String {
    match us {
        v if v < 999.5 => format!("{} µs", scaled(v)),
        v if v < 999_500.0 => format!("{} ms", scaled(v / 1e3)),
        v => format!("{} s", scaled(v / 1e6)),
    }
}

/// Breaks words into lines of at most `width` characters, all but the first indented.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut column = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        let shown: Vec<String> =
            [0.0, 999.4, 999.5, 1234.0, 1_234_567.0].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "999", "1,000", "1,234", "1,234,567"]);
    }

    #[test]
    fn decimals_go_where_they_mean_nothing() {
        let shown: Vec<String> =
            [0.0, 2.345, 9.994, 9.995, 99.94, 99.95, 12_345.6].into_iter().map(scaled).collect();
        assert_eq!(shown, ["0.00", "2.35", "9.99", "10.0", "99.9", "100", "12,346"]);
    }

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        let shown: Vec<String> = [0.85, 850.0, 999.6, 21_000.0, 999_600.0, 1_020_000.0, 61e6]
            .into_iter()
            .map(time)
            .collect();
        let expected = ["0.85 µs", "850 µs", "1.00 ms", "21.0 ms", "1.00 s", "1.02 s", "61.0 s"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn no_line_is_longer_than_asked_and_no_word_is_lost() {
        let text = "one two three four five six seven";
        let lines = wrapped(text, 11, 2);
        assert_eq!(lines, "one two\n  three\n  four five\n  six seven");
        assert!(lines.lines().all(|line| line.len() <= 11));
        assert_eq!(wrapped("incomprehensibilities", 5, 2), "incomprehensibilities");
    }
}
