// The canonical form of a change, from its message alone.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "envelope.capnp.h"
#include "json_text.h"

/// Writes the changes of a message with these columns.
class Canonical {
 public:
  explicit Canonical(spanwire::Columns::Reader columns);

  /// One change, without the end of its line.
  std::string line(spanwire::DataChangeRecord::Reader record, spanwire::Mod::Reader mod) const;

 private:
  std::string table_;
  Role keys_, rest_;
};

std::string written(std::int64_t number);
std::string written(double number);
std::string written(capnp::Data::Reader bytes);
std::string timestamp(std::int64_t seconds, std::uint32_t nanos);
/// A string with the escapes that JSON demands and no others.
std::string quote(const std::string& text);
std::string bracketed(const std::vector<std::string>& elements);
