//! What is said of what grows in the tree?

use super::number_of;
use crate::view::GrowingView;

/// How many units grew from a template and what keeps others from it; and whether all is well with it.
pub(crate) fn growing(growing: &GrowingView) -> (String, bool) {
    let one = growing.of.strip_suffix('s').unwrap_or(&growing.of);
    let mut words = number_of(growing.units, one);
    if growing.left_out > 0 {
        words = format!("{words}, {} left out", growing.left_out);
    }
    if let Some(trouble) = &growing.trouble {
        words = format!("{words}: {trouble}");
    }
    (words, growing.left_out == 0 && growing.trouble.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_how_many_grew_and_what_is_wrong() {
        let of = |units, left_out, trouble: Option<&str>| GrowingView {
            template: "replica".to_owned(),
            of: "containers".to_owned(),
            units,
            left_out,
            trouble: trouble.map(str::to_owned),
        };
        for (view, expected) in [
            (of(1, 0, None), ("1 container", true)),
            (of(3, 0, None), ("3 containers", true)),
            (of(50, 2, None), ("50 containers, 2 left out", false)),
            (
                of(2, 0, Some("no answer")),
                ("2 containers: no answer", false),
            ),
        ] {
            let (words, is_well) = growing(&view);
            assert_eq!((words.as_str(), is_well), expected);
        }
    }
}
