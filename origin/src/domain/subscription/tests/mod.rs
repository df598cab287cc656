//! The rules of a subscription as text: every transition, timelines day by day, month-ends, and facts in any order.

mod transitions;
