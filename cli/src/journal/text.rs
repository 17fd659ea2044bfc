//! Numbers and times for people.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use std::fmt::Write;
use std::time::SystemTime;

/// RFC 3339 in UTC, to the nanosecond.
pub(crate) fn time(time: SystemTime) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
    // a journal's 64 bits of nanoseconds end in 2554
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    PRINTER.timestamp_to_string(&time)
}

/// `1.2 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let exponent = (count.ilog2() / 10).min(4);
    let unit = ["KiB", "MiB", "GiB", "TiB"][exponent as usize - 1];
    let count = count as f64 / (1_u64 << (10 * exponent)) as f64;
    format!("{count:.1} {unit}")
}

/// A word with its number.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A number that stands for letters often does so: `0x6e69616c70 (plain)`.
pub(crate) fn id(id: u64) -> String {
    let bytes = id.to_le_bytes();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    match std::str::from_utf8(&bytes[..end]) {
        Ok(letters) if !letters.is_empty() && letters.chars().all(|c| (' '..='~').contains(&c)) => {
            format!("{id:#x} ({letters})")
        }
        _ => format!("{id:#x}"),
    }
}

/// Rows under each other, two spaces apart. Columns of `right` have their cells at the right.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match right.contains(&column) {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Appends lines of 16 bytes, in hexadecimal and as ASCII.
pub(crate) fn hex_dump(payload: &[u8], text: &mut String) {
    for (index, bytes) in payload.chunks(16).enumerate() {
        let _ = write!(text, "    {:06x}  ", index * 16);
        let begin = text.len();
        for (at, byte) in bytes.iter().enumerate() {
            text.push_str(if at == 8 { " " } else { "" });
            // digit by digit: a journal has many bytes
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
            text.push(' ');
        }
        let width = 50 + begin - text.len();
        text.extend(std::iter::repeat_n(' ', width));
        text.push('|');
        text.extend(bytes.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
        text.push_str("|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_have_nine_digits() {
        assert_eq!(time(UNIX_EPOCH), "1970-01-01T00:00:00.000000000Z");
        let late = UNIX_EPOCH + Duration::from_nanos(u64::MAX);
        assert_eq!(time(late), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(
            id(u64::from_le_bytes(*b"plain\0\0\0")),
            "0x6e69616c70 (plain)"
        );
        assert_eq!(id(0), "0x0");
        assert_eq!(id(u64::MAX), "0xffffffffffffffff");
    }

    #[test]
    fn dumps_have_columns() {
        let mut dump = String::new();
        hex_dump(b"0123456789abcdef\n\xff", &mut dump);
        let lines: Vec<&str> = dump.lines().collect();
        assert_eq!(
            lines[0],
            "    000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|"
        );
        assert_eq!(lines[1].find('|'), lines[0].find('|'));
        assert!(lines[1].ends_with("|..|"), "{dump}");
        assert_eq!(lines.len(), 2);
    }
}
