//! Whole numbers as decimal text, three digits at a time: most of those in a log are short.

/// The numbers below 1000: their digits from the left, and in the last byte how many these are.
static SHORT: [[u8; 4]; 1000] = {
    let mut table = [[0; 4]; 1000];
    let mut number = 0;
    while number < table.len() {
        let [hundreds, tens, ones] = three_digits(number as u64);
        table[number] = match number {
            0..10 => [ones, 0, 0, 1],
            10..100 => [tens, ones, 0, 2],
            _ => [hundreds, tens, ones, 3],
        };
        number += 1;
    }
    table
};

/// Appends the number without leading zeros.
// Inlined, for it is less than a call where the number is short.
#[inline(always)]
pub(crate) fn push_number(number: u64, out: &mut Vec<u8>) {
    let Some(short) = usize::try_from(number).ok().and_then(|number| SHORT.get(number)) else {
        return push_long(number, out);
    };
    // Four bytes, of which some are taken back: a copy of known length is one instruction, any
    // other is a call.
    let [.., digits] = *short;
    let end = out.len() + usize::from(digits);
    out.extend_from_slice(short);
    out.truncate(end);
}

fn push_long(number: u64, out: &mut Vec<u8>) {
    push_number(number / 1000, out);
    out.extend_from_slice(&three_digits(number));
}

/// The last three digits, with leading zeros.
pub(crate) const fn three_digits(number: u64) -> [u8; 3] {
    let number = (number % 1000) as u16;
    let (hundreds, below) = (number / 100, number % 100);
    [b'0' + hundreds as u8, b'0' + (below / 10) as u8, b'0' + (below % 10) as u8]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::push_number;

    fn written(number: u64) -> String {
        let mut out = b"=".to_vec();
        push_number(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_of_every_length_are_written_as_the_standard_library_does() {
        let around = (0..20).map(|power| 10u64.pow(power)).flat_map(|n| [n - 1, n, n + 1]);
        for number in (0..=2000).chain(around).chain([u64::MAX]) {
            assert_eq!(written(number), format!("={number}"));
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_the_standard_library_does(number: u64) {
            prop_assert_eq!(written(number), format!("={number}"));
        }
    }
}
