// Prints the version, table and keys of each change:
//
//     make && build/example tcp://127.0.0.1:5560 shop/all_tables/

#include <capnp/pretty-print.h>
#include <capnp/serialize.h>
#include <kj/string-tree.h>

#include <cstring>
#include <iostream>
#include <vector>
#include <zmq_addon.hpp>

#include "envelope.capnp.h"

// ZeroMQ's frames need not lie at addresses divisible by 8, as Cap'n Proto wants them.
kj::Array<capnp::word> aligned(const zmq::message_t& frame) {
  auto words = kj::heapArray<capnp::word>(frame.size() / sizeof(capnp::word));
  std::memcpy(words.begin(), frame.data(), words.size() * sizeof(capnp::word));
  return words;
}

void print(spanwire::Columns::Reader columns, spanwire::DataChangeRecord::Reader record) {
  auto committed = record.getCommitTimestamp();
  for (auto mod : record.getMods()) {
    std::cout << committed.getSeconds() << '.' << committed.getNanos() << '/'
              << record.getServerTransactionId().cStr() << '/' << record.getRecordSequence().cStr() << '/'
              << mod.getNumber() << ' ' << columns.getTable().cStr();
    if (mod.isJson()) {
      std::cout << ' ' << mod.getJson().getKeys().cStr();
    } else if (mod.isTyped()) {
      auto keys = mod.getTyped().getKeys();
      unsigned next = 0;
      for (auto column : columns.getColumns()) {
        // A list may be shorter than its columns: what is not there is missing.
        if (!column.getIsPrimaryKey() || next == keys.size()) continue;
        std::cout << ' ' << column.getName().cStr() << '=' << kj::str(keys[next++]).cStr();
      }
    }
    std::cout << std::endl;
  }
}

int main(int, char** arguments) {
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::sub);
  socket.connect(arguments[1]);
  socket.set(zmq::sockopt::subscribe, arguments[2]);
  for (;;) {
    std::vector<zmq::message_t> frames;  // topic, header, columns, body
    (void)zmq::recv_multipart(socket, std::back_inserter(frames));
    auto words = aligned(frames.at(1));
    capnp::FlatArrayMessageReader message(words);
    auto header = message.getRoot<spanwire::Header>();
    if (header.getFormatMajor() > 1 || header.getRequiredFeatures() != 0 ||
        header.getBodyEncoding() != spanwire::Header::BodyEncoding::NONE) {
      std::cerr << "this message needs a newer reader" << std::endl;
      return 1;
    }
    if (header.getKind() != spanwire::Header::Kind::CHANGES) continue;  // a tick, a notice

    auto shape = aligned(frames.at(2)), body = aligned(frames.at(3));
    capnp::FlatArrayMessageReader columns(shape);
    capnp::ReaderOptions options;
    options.traversalLimitInWords = 8 * body.size();
    for (kj::ArrayPtr<const capnp::word> rest = body; rest.size() > 0;) {
      capnp::FlatArrayMessageReader record(rest, options);
      print(columns.getRoot<spanwire::Columns>(), record.getRoot<spanwire::DataChangeRecord>());
      rest = kj::arrayPtr(record.getEnd(), rest.end());
    }
  }
}
