//! How many failed and successful requests touched each component: the table under every spectrum,
//! computed by polars for whole files.
//!
//! A request counts as failed here when any of its spans has the status `error`. The engine knows
//! better (see `rekindle-analysis`); this is the plain count that other tools give, for notebooks
//! and for comparison.

use polars::prelude::*;

use crate::FrameError;

/// One row per service: `service`, `failed`, `ok` (distinct requests), sorted by `failed`, then
/// name.
///
/// # Errors
/// When `spans` lacks the columns of [`crate::spans`].
pub fn requests_per_service(spans: LazyFrame) -> Result<DataFrame, FrameError> {
    let requests = spans.clone().group_by([col("trace_id")]).agg([col("status")
        .eq(lit("error"))
        .any(true)
        .alias("request_failed")]);
    spans
        .select([col("trace_id"), col("service")])
        .unique(None, UniqueKeepStrategy::Any)
        .join(
            requests,
            [col("trace_id")],
            [col("trace_id")],
            JoinArgs::new(JoinType::Inner),
        )
        .group_by([col("service")])
        .agg([
            col("request_failed")
                .sum()
                .cast(DataType::UInt64)
                .alias("failed"),
            col("request_failed")
                .not()
                .sum()
                .cast(DataType::UInt64)
                .alias("ok"),
        ])
        .sort_by_exprs(
            [col("failed"), col("service")],
            SortMultipleOptions::default().with_order_descending_multi([true, false]),
        )
        .collect()
        .map_err(|source| FrameError::Shape {
            what: "requests per service",
            source,
        })
}

#[cfg(test)]
mod tests {
    use rekindle_model::Status;

    use super::*;
    use crate::spans::spans_frame;
    use crate::spans::tests::span;

    #[test]
    fn requests_are_counted_once_per_service() {
        let spans = [
            span(1, 1, "web", Status::Unset),
            span(1, 2, "catalog", Status::Error),
            span(1, 3, "catalog", Status::Error),
            span(2, 4, "web", Status::Ok),
            span(3, 5, "web", Status::Unset),
            span(3, 6, "accounts", Status::Unset),
        ];
        let table =
            requests_per_service(spans_frame(&spans).expect("a frame").lazy()).expect("a table");
        let column = |name: &str| {
            let column = table.column(name).expect("there").u64().expect("counts");
            column
                .iter()
                .map(|count| count.expect("not null"))
                .collect::<Vec<_>>()
        };
        let services = table.column("service").expect("there").str().expect("text");
        assert_eq!(
            services.iter().flatten().collect::<Vec<_>>(),
            ["catalog", "web", "accounts"]
        );
        assert_eq!(column("failed"), [1, 1, 0]);
        assert_eq!(column("ok"), [0, 2, 1]);
    }
}
