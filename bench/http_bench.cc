// How many tokens a second the server's HTTP side sends as SSE events: starts m2-echo with one io
// thread, keeps a number of streams busy, and tells the rate, and whose CPU time it took.
//
//   http_bench [m2-echo] [models/pocket] [streams] [replies] [words] [step_us]
//
// `replies` are those of each stream, `words` those of each reply. A step of at least `step_us`
// (2500; 0: as fast as it goes) makes every token an event and a write of its own, as a model
// would: without it the engine runs so far ahead that many tokens share one write.
//
// The load generator is one thread on epoll that looks for the ends of replies and counts events;
// its own cost is printed, as it may share its cores with the server.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void give_up(std::string_view why) {
  fmt::print(stderr, "http_bench: {}\n", why);
  std::exit(1);
}

sockaddr_in local(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = local(0);
  socklen_t size = sizeof(address);
  if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    give_up("no free port");
  }
  ::close(socket);
  return ntohs(address.sin_port);
}

int connect_to(uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = local(port);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ::close(socket);
    return -1;
  }
  return socket;
}

// m2-echo on a port of its own; ended with this object.
class EchoServer {
 public:
  EchoServer(const std::string& program, const std::string& model, int streams, int step_us)
      : port_(free_port()) {
    ::setenv("M2_ECHO_STEP_US", std::to_string(step_us).c_str(), 1);
    std::vector<std::string> words = {program,
                                      model,
                                      "--host",
                                      "127.0.0.1",
                                      "--port",
                                      std::to_string(port_),
                                      "--log-level",
                                      "warning",
                                      "--max-num-seqs",
                                      std::to_string(std::max(streams, 1)),
                                      "--served-model-name",
                                      "echo"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    if (posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments.data(), environ) != 0) {
      give_up("cannot start " + program);
    }
    for (int i = 0; i < 1000; ++i) {
      if (healthy()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    give_up("the server does not become ready");
  }
  ~EchoServer() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  uint16_t port() const { return port_; }

  // Seconds of CPU by the threads' names.
  std::map<std::string, double> cpu() const {
    std::map<std::string, double> out;
    const std::string folder = fmt::format("/proc/{}/task", pid_);
    DIR* tasks = ::opendir(folder.c_str());
    while (const dirent* task = tasks ? ::readdir(tasks) : nullptr) {
      std::ifstream file(folder + "/" + task->d_name + "/stat");
      std::string text;
      if (!std::getline(file, text)) continue;
      const size_t open = text.find('('), close = text.rfind(')');
      long user = 0, system = 0;
      std::sscanf(text.c_str() + close + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld",
                  &user, &system);
      out[text.substr(open + 1, close - open - 1)] +=
          static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }
    if (tasks) ::closedir(tasks);
    return out;
  }

 private:
  bool healthy() const {
    const int socket = connect_to(port_);
    if (socket < 0) return false;
    constexpr std::string_view kAsk =
        "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    char reply[64] = {};
    const bool ok = ::send(socket, kAsk.data(), kAsk.size(), MSG_NOSIGNAL) > 0 &&
                    ::recv(socket, reply, sizeof(reply) - 1, 0) > 0 &&
                    std::strstr(reply, " 200 ") != nullptr;
    ::close(socket);
    return ok;
  }

  const uint16_t port_;
  pid_t pid_ = 0;
};

std::string request_for(int words) {
  std::string text;
  for (int i = 0; i < words; ++i) text += i % 2 == 0 ? " the" : " and";
  const std::string body = fmt::format(
      R"({{"model":"echo","stream":true,"messages":[{{"role":"user","content":"reply:</think>{}"}}]}})",
      text);
  return fmt::format(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\n\r\n{}",
      body.size(), body);
}

// One connection, with one reply after another.
struct Stream {
  int socket = -1;
  int replies_left = 0;
  std::string tail;  // the last bytes, in which a mark may have begun
};

class Load {
 public:
  Load(uint16_t port, int streams, int replies, int words)
      : request_(request_for(words)),
        streams_(static_cast<size_t>(streams)),
        poll_(::epoll_create1(0)) {
    for (size_t i = 0; i < streams_.size(); ++i) {
      Stream& stream = streams_[i];
      stream.replies_left = replies;
      stream.socket = connect_to(port);
      if (stream.socket < 0) give_up("cannot connect");
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = i;
      ::epoll_ctl(poll_, EPOLL_CTL_ADD, stream.socket, &event);
    }
  }
  ~Load() {
    for (const Stream& stream : streams_) ::close(stream.socket);
    ::close(poll_);
  }

  void run() {
    for (Stream& stream : streams_) ask(stream);
    std::vector<epoll_event> events(streams_.size());
    while (open_ > 0) {
      const int count = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), 20'000);
      if (count <= 0) give_up("the server says nothing for 20 s");
      for (int i = 0; i < count; ++i) read(streams_[events[static_cast<size_t>(i)].data.u64]);
    }
  }

  int64_t events() const { return events_; }
  int64_t reads() const { return reads_; }
  int64_t bytes() const { return bytes_; }

 private:
  void ask(Stream& stream) {
    if (stream.replies_left-- == 0) return;
    ++open_;
    stream.tail.clear();
    if (::send(stream.socket, request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size())) {
      give_up("cannot send");
    }
  }

  void read(Stream& stream) {
    const ssize_t count = ::recv(stream.socket, block_, sizeof(block_), 0);
    if (count <= 0) give_up("the server closed a stream");
    ++reads_;
    bytes_ += count;
    stream.tail.append(block_, static_cast<size_t>(count));
    // Events begin after an empty line or a chunk's size: both end in a line break.
    constexpr std::string_view kEvent = "\ndata: {", kEnd = "\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    const std::string_view text = stream.tail;
    size_t from = 0;
    while (const void* found =
               ::memmem(text.data() + from, text.size() - from, kEvent.data(), kEvent.size())) {
      ++events_;
      from = static_cast<size_t>(static_cast<const char*>(found) - text.data()) + kEvent.size();
    }
    if (text.ends_with(kEnd)) {
      --open_;
      return ask(stream);
    }
    // What was looked through goes, but for the start of a mark.
    const size_t keep = std::min(kEnd.size() - 1, text.size() - from);
    stream.tail.erase(0, text.size() - keep);
  }

  const std::string request_;
  std::vector<Stream> streams_;
  const int poll_;
  int open_ = 0;
  int64_t events_ = 0, reads_ = 0, bytes_ = 0;
  char block_[1 << 18];
};

double own_cpu() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int index, int otherwise) {
    return argc > index ? std::max(1, std::atoi(argv[index])) : otherwise;
  };
  const int streams = number(3, 64), replies = number(4, 20), words = number(5, 256);
  const int step_us = argc > 6 ? std::atoi(argv[6]) : 2500;
  // The server that was built beside this program, as seen from the checkout.
  const std::string self = argv[0];
  const std::string echo = argc > 1 ? argv[1] : self.substr(0, self.rfind('/') + 1) + "m2-echo";
  const EchoServer server(echo, argc > 2 ? argv[2] : "models/pocket", streams, step_us);
  Load(server.port(), streams, 1, words).run();  // warm

  auto load = std::make_unique<Load>(server.port(), streams, replies, words);
  const auto cpu_before = server.cpu();
  const double own_before = own_cpu();
  const auto start = Clock::now();
  load->run();
  const double wall = std::chrono::duration<double>(Clock::now() - start).count();
  const double own = own_cpu() - own_before;

  // Of a reply's events the first names the role and the last the end: the others are tokens.
  const int64_t all = int64_t{streams} * replies;
  const auto tokens = static_cast<double>(load->events() - 2 * all);
  fmt::print("{} streams, {} replies of {:.0f} tokens, {:.2f} s: {:.0f} tokens/s\n", streams, all,
             tokens / static_cast<double>(all), wall, tokens / wall);
  fmt::print("{:.0f} bytes and {:.2f} reads of the client a token\n",
             static_cast<double>(load->bytes()) / tokens,
             static_cast<double>(load->reads()) / tokens);
  fmt::print("CPU, us a token: client {:.2f}", own / tokens * 1e6);
  double http = 0;
  for (const auto& [name, seconds] : server.cpu()) {
    const auto before = cpu_before.find(name);
    const double used = seconds - (before == cpu_before.end() ? 0 : before->second);
    if (name == "m2-http") http = used;
    if (used > 0) fmt::print(", {} {:.2f}", name, used / tokens * 1e6);
  }
  if (http > 0) fmt::print("\none io core at its full would send {:.0f} tokens/s", tokens / http);
  fmt::print("\n");
  return 0;
}
