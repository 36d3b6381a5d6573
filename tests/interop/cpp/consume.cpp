// Prints changes in canonical form (docs/canonical.md):
//
//     consume TOPIC COUNT ENDPOINT...
//
// ends after COUNT changes. A line "joined" on stderr says that ticks came from every endpoint:
// nothing that is sent from then on is missed.

#include <capnp/serialize.h>

#include <cstring>
#include <iomanip>
#include <iostream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <vector>
#include <zmq_addon.hpp>

#include "canonical.h"

namespace {

constexpr unsigned FORMAT_MAJOR = 1;
constexpr std::uint64_t FEATURES = 0;  // the bits of requiredFeatures that this reader knows

/// A frame at an address divisible by 8, which ZeroMQ does not promise.
class Aligned {
 public:
  explicit Aligned(const zmq::message_t& frame)
      : words_(kj::heapArray<capnp::word>(frame.size() / sizeof(capnp::word))) {
    std::memcpy(words_.begin(), frame.data(), words_.size() * sizeof(capnp::word));
    options_.traversalLimitInWords = 8 * words_.size();
  }

  kj::ArrayPtr<const capnp::word> words() const { return words_; }
  const capnp::ReaderOptions& options() const { return options_; }

 private:
  kj::Array<capnp::word> words_;
  capnp::ReaderOptions options_;
};

/// Refuses a message that takes a newer reader.
void accept(spanwire::Header::Reader header) {
  std::ostringstream why;
  if (header.getFormatMajor() > FORMAT_MAJOR) {
    why << "formatMajor " << header.getFormatMajor() << ", and this reader knows " << FORMAT_MAJOR;
  } else if (auto unknown = header.getRequiredFeatures() & ~FEATURES) {
    why << "requiredFeatures 0x" << std::hex << unknown << ", which this reader does not know";
  } else if (header.getBodyEncoding() != spanwire::Header::BodyEncoding::NONE) {
    why << "a bodyEncoding that this reader does not know";
  } else {
    return;
  }
  throw std::runtime_error("refused: " + why.str() + ": get a newer one");
}

void run(const std::string& topic, unsigned long left, const std::vector<std::string>& endpoints) {
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::sub);
  socket.set(zmq::sockopt::rcvhwm, 0);
  for (const auto& endpoint : endpoints) socket.connect(endpoint);
  socket.set(zmq::sockopt::subscribe, topic);
  std::set<std::string> senders;
  while (left > 0) {
    std::vector<zmq::message_t> frames;
    (void)zmq::recv_multipart(socket, std::back_inserter(frames));
    Aligned head(frames.at(1));
    capnp::FlatArrayMessageReader message(head.words(), head.options());
    auto header = message.getRoot<spanwire::Header>();
    accept(header);
    if (header.getKind() == spanwire::Header::Kind::TICK) {
      auto sender = header.getPartition().asChars();
      bool fresh = senders.emplace(sender.begin(), sender.size()).second;
      if (fresh && senders.size() == endpoints.size()) std::cerr << "joined" << std::endl;
    }
    if (header.getKind() != spanwire::Header::Kind::CHANGES) continue;

    Aligned columns(frames.at(2)), body(frames.at(3));
    capnp::FlatArrayMessageReader shape(columns.words(), columns.options());
    Canonical canonical(shape.getRoot<spanwire::Columns>());
    for (auto rest = body.words(); rest.size() > 0 && left > 0;) {
      capnp::FlatArrayMessageReader one(rest, body.options());
      auto record = one.getRoot<spanwire::DataChangeRecord>();
      for (auto mod : record.getMods()) {
        if (left == 0) break;
        std::cout << canonical.line(record, mod) << '\n';
        --left;
      }
      rest = kj::arrayPtr(one.getEnd(), rest.end());
    }
  }
  std::cout.flush();
}

}  // namespace

int main(int count, char** arguments) {
  std::ios::sync_with_stdio(false);
  try {
    if (count < 4) throw std::runtime_error("TOPIC COUNT ENDPOINT...");
    run(arguments[1], std::stoul(arguments[2]), {arguments + 3, arguments + count});
  } catch (const std::exception& error) {
    std::cerr << "consume: " << error.what() << std::endl;
    return 1;
  } catch (const kj::Exception& error) {
    std::cerr << "consume: " << error.getDescription().cStr() << std::endl;
    return 1;
  }
}
