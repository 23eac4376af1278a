internal import EnvoyAPI
internal import IO
internal import Upstream

/// The network filter direct_response: the bytes it sends.
enum DirectResponse {
    static func bytes(_ source: DataSource?, at path: String) throws(ConfigurationError) -> [UInt8] {
        switch source?.specifier {
        case nil: return []
        case .inlineString(let text): return Array(text.utf8)
        case .inlineBytes(let bytes): return bytes
        case .filename(let file):
            do throws(SystemError) {
                return try File.read(file)
            } catch {
                throw ConfigurationError(at: path + ".filename", "\(error)")
            }
        case .environmentVariable(let name):
            guard let text = Environment.variable(name) else {
                throw ConfigurationError(at: path + ".environment_variable", "\(name) is not set")
            }
            return Array(text.utf8)
        }
    }
}
