//! How large may a sum of squared distances be by chance? Quantiles of the χ² distribution.

use statrs::function::gamma::gamma_lr;

/// Halvings of the bracket: after sixty the ends are the same to all digits that a double has.
const HALVINGS: usize = 200;

/// The value that a χ² with so many degrees of freedom stays below with this probability: the inverse
/// of the regularized lower incomplete gamma function P(k/2, x/2), by bisection. `None` without a degree of
/// freedom or for a probability of 1, where there is no such value.
pub fn chi_squared_quantile(degrees: u32, probability: crate::Probability) -> Option<f64> {
    let wanted = probability.get();
    if degrees == 0 || wanted >= 1.0 {
        return None;
    }
    let shape = f64::from(degrees) / 2.0;
    let below = |x: f64| {
        if x > 0.0 {
            gamma_lr(shape, x / 2.0)
        } else {
            0.0
        }
    };
    let (mut low, mut high) = (0.0, f64::from(degrees).max(1.0));
    while below(high) < wanted {
        low = high;
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}
