//! The scheme of a source that signs nothing and names nothing: proof and type are in the URL or a header.

use crate::query;

/// For `Allow`.
pub(super) const METHODS: &str = "POST";

/// What a scheme reads from a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The event's type, where the request names one.
    pub(crate) event_type: Option<String>,
    /// Whose event it is.
    pub(crate) tenant: Option<String>,
}

/// The type from the path, else from `?type=`; the tenant from `?tenant=`.
pub(super) fn read(type_in_path: Option<&str>, query: &str) -> Facts {
    let event_type = type_in_path.map(query::decoded).or_else(|| query::first(query, "type"));
    Facts { event_type, tenant: query::first(query, "tenant") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_type_before_the_query_does() {
        let query = "type=b&tenant=t1";
        assert_eq!(read(Some("a%2Fb"), query).event_type.as_deref(), Some("a/b"));
        assert_eq!(read(None, query), Facts { event_type: Some("b".into()), tenant: Some("t1".into()) });
        assert_eq!(read(None, ""), Facts { event_type: None, tenant: None });
    }
}
