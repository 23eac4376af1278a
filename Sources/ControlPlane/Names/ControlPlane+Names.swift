import APIServer
import DNS
import IO
import Mesh

// Which names are answered: of services, of ServiceEntries and of registered programs.
extension ControlPlaneServer {
    func openNames(_ streams: ProxyStreams) throws(StatusError) {
        let names: NameService
        do throws(SystemError) { names = try NameService(reversePrefixes: options.reversePrefixes) } catch {
            throw .internalError("names cannot be answered: \(error)")
        }
        self.names = names
        streams.namesChanged = { [weak streams] services, slices in
            names.update(
                NameFeed.services(services, slices: slices),
                hosts: streams.map { NameFeed.hosts($0.publisher.model) } ?? [:])
        }
        let others = streams.configMapsChanged
        streams.configMapsChanged = { objects in
            others(objects)
            names.use(objects)
        }
        names.furtherChanged = { [weak self] message in self?.nodes?.tell(message) }
    }
}
