import EnvoyAPI
import Serialization
import Upstream

/// The filter expression of an access log (Telemetry `accessLogging.filter`): CEL, for the proxy's own filter for it.
enum LogExpression {
    /// The filter that an expression means.
    ///
    /// - Throws: What is wrong with it, in the words that the proxy would refuse it with.
    static func filter(_ text: String) throws(ConfigurationError) -> AccessLogFilter {
        _ = try CELCondition(text: text, at: "")
        var expression = ExpressionFilter()
        expression.expression = text
        var message = ExtensionFilter()
        message.name = "envoy.access_loggers.extension_filters.cel"
        message.configType = .typedConfig(AnyMessage(packing: expression))
        var filter = AccessLogFilter()
        filter.filterSpecifier = .extensionFilter(message)
        return filter
    }
}
