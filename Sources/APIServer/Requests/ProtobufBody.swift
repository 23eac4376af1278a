import KubernetesAPI
import Serialization

/// Bodies in Kubernetes' protobuf form, which kubectl 1.32 and later send for typed creates.
enum ProtobufBody {
    static func object(_ bytes: [UInt8]) throws(StatusError) -> JSON {
        throw .unsupportedMediaType("protobuf bodies are not supported yet: send JSON")
    }
}
