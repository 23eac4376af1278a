// A server for checks, small enough to be the only file of an image: answers every GET with "NAME HOST PORT".
// usage: answer PORT…     NAME comes from the environment; /slow/HOST waits ten seconds on that host; /count tells requests.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <pthread.h>

static char host[256];
static const char *name;
static int slow_requests;

struct client { int fd; int port; };

static void *serve(void *argument) {
    struct client client = *(struct client *)argument;
    free(argument);
    char request[16384];
    size_t have = 0;
    for (;;) {
        ssize_t got = read(client.fd, request + have, sizeof request - 1 - have);
        if (got <= 0) break;
        have += (size_t)got;
        request[have] = 0;
        char *end = strstr(request, "\r\n\r\n");
        if (!end) {
            if (have == sizeof request - 1) break;
            continue;
        }
        char path[256] = "/";
        sscanf(request, "%*s %255s", path);
        if (strncmp(path, "/slow/", 6) == 0 && (strcmp(path + 6, host) == 0 || strcmp(path + 6, "all") == 0)) {
            __sync_fetch_and_add(&slow_requests, 1);
            sleep(10);
        }
        char body[512], answer[1024];
        int length = strcmp(path, "/count") == 0 ? snprintf(body, sizeof body, "%d\n", slow_requests)
                                                 : snprintf(body, sizeof body, "%s %s %d\n", name, host, client.port);
        int total = snprintf(answer, sizeof answer,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s", length, body);
        if (write(client.fd, answer, (size_t)total) != total) break;
        have = 0;  // One request at a time: clients of the checks do not pipeline.
    }
    close(client.fd);
    return NULL;
}

int main(int count, char **arguments) {
    struct pollfd listeners[8];
    int ports[8], listening = 0;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, exit);
    gethostname(host, sizeof host - 1);
    name = getenv("NAME") ? getenv("NAME") : "answer";
    for (int i = 1; i < count && listening < 8; i++, listening++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        ports[listening] = atoi(arguments[i]);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)ports[listening])};
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0) return perror("listen"), 1;
        listeners[listening] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    for (;;) {
        if (poll(listeners, (nfds_t)listening, -1) < 0) continue;
        for (int i = 0; i < listening; i++) {
            if (!(listeners[i].revents & POLLIN)) continue;
            struct client *client = malloc(sizeof *client);
            *client = (struct client){.fd = accept(listeners[i].fd, NULL, NULL), .port = ports[i]};
            pthread_t thread;
            if (client->fd < 0 || pthread_create(&thread, NULL, serve, client) != 0) continue;
            pthread_detach(thread);
        }
    }
}
