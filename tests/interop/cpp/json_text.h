// Values that came as JSON text, written by their columns' types.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envelope.capnp.h"

/// How values of a column are read.
class Form {
 public:
  Form() = default;
  explicit Form(spanwire::Type::Reader type);

  /// The JSON of a value that is not null; nothing where it does not fit.
  std::optional<std::string> read(const std::string& raw) const;

 private:
  enum class Scalar { unknown, boolean, integer, real, text, numeric, json, bytes, timestamp };

  static Scalar scalar(spanwire::Type::Reader type);
  static std::optional<std::string> read(Scalar scalar, const std::string& raw);

  Scalar scalar_ = Scalar::unknown;
  bool many_ = false;
};

/// Columns of the primary key, or the others.
struct Role {
  std::vector<std::string> names;
  std::map<std::string, Form> forms;
};

/// The JSON of values, by name: std::string compares bytes, as the form wants it.
using Object = std::map<std::string, std::string>;

/// The values of an object's JSON text; what does not fit its column, or has none, is its text.
Object typed(const std::string& text, const Role& role);
