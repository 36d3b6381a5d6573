#include "json_text.h"

#include <kj/encoding.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <regex>
#include <stdexcept>

#include "canonical.h"

namespace {

using Text = std::optional<std::string>;

/// Walks JSON text that is known to be JSON.
class Scanner {
 public:
  explicit Scanner(const std::string& text) : text_(text) {}

  /// Steps over a token, and the space around it, if it is next.
  bool take(char token) {
    space();
    if (at_ >= text_.size() || text_[at_] != token) return false;
    ++at_;
    space();
    return true;
  }

  void expect(char token) {
    if (!take(token)) throw std::runtime_error(std::string("JSON text without its ") + token);
  }

  /// The text of the next value.
  std::string value() {
    auto begin = at_;
    unsigned depth = 0;
    do {
      char next = at_ < text_.size() ? text_[at_] : '\0';
      if (next == '"') {
        string();
      } else if (next == '{' || next == '[') {
        ++depth, ++at_;
      } else if (next == '}' || next == ']') {
        --depth, ++at_;
      } else if (next == '\0') {
        throw std::runtime_error("JSON text that ends early");
      } else if (depth > 0) {
        ++at_;
      } else {
        at_ = std::min(text_.find_first_of(",]} \t\n\r", at_), text_.size());
      }
    } while (depth > 0);
    return text_.substr(begin, at_ - begin);
  }

 private:
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  void string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

void append(std::string& out, std::uint32_t letter) {
  if (letter < 0x80) {
    out += static_cast<char>(letter);
    return;
  }
  int more = letter < 0x800 ? 1 : letter < 0x10000 ? 2 : 3;
  static constexpr unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(first[more] | letter >> (6 * more));
  while (more-- > 0) out += static_cast<char>(0x80 | (letter >> (6 * more) & 0x3F));
}

/// A string's content; nothing where it is no string, or has half a surrogate pair.
Text unquoted(const std::string& raw) {
  if (raw.front() != '"') return {};
  std::string out;
  out.reserve(raw.size());
  auto unit = [&](std::size_t at) { return std::stoul(raw.substr(at + 2, 4), nullptr, 16); };
  for (std::size_t at = 1; at + 1 < raw.size(); ++at) {
    if (raw[at] != '\\') {
      out += raw[at];
    } else if (raw[at + 1] != 'u') {
      static const std::string letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
      out += meanings.at(letters.find(raw[++at]));
    } else {
      std::uint32_t letter = unit(at);
      at += 5;
      if (letter >= 0xDC00 && letter < 0xE000) return {};
      if (letter >= 0xD800 && letter < 0xDC00) {
        if (raw.compare(at + 1, 2, "\\u") != 0) return {};
        std::uint32_t second = unit(at + 1);
        if (second < 0xDC00 || second >= 0xE000) return {};
        letter = 0x10000 + ((letter - 0xD800) << 10) + (second - 0xDC00);
        at += 6;
      }
      append(out, letter);
    }
  }
  return out;
}

bool is_number(const std::string& raw) { return raw[0] == '-' || (raw[0] >= '0' && raw[0] <= '9'); }

Text integer(const std::string& raw) {
  static const std::regex form("\"-?[0-9]{1,19}\"|-?[0-9]+");
  if (!std::regex_match(raw, form)) return {};
  errno = 0;
  auto number = std::strtoll(raw.c_str() + (raw[0] == '"'), nullptr, 10);
  return errno ? Text() : written(static_cast<std::int64_t>(number));
}

Text real(const std::string& raw) {
  constexpr auto infinity = std::numeric_limits<double>::infinity();
  if (raw == "\"NaN\"") return written(std::nan(""));
  if (raw == "\"Infinity\"") return written(infinity);
  if (raw == "\"-Infinity\"") return written(-infinity);
  auto number = is_number(raw) ? std::strtod(raw.c_str(), nullptr) : infinity;
  return std::isfinite(number) ? Text(written(number)) : Text();
}

Text bytes(const std::string& raw) {
  auto text = unquoted(raw);
  if (!text) return {};
  auto decoded = kj::decodeBase64(kj::arrayPtr(text->data(), text->size()));
  // kj decodes leniently: only what encodes back to itself will do.
  auto again = written(capnp::Data::Reader(decoded.begin(), decoded.size()));
  return again == quote(*text) ? Text(again) : Text();
}

Text moment(const std::string& raw) {
  static const std::regex form(
      "\"(([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2}))(\\.([0-9]{1,9}))?(Z|\\+00:00)\"");
  std::smatch parts;
  if (!std::regex_match(raw, parts, form)) return {};
  auto number = [&](int part) { return std::stoi(parts[part]); };
  int year = number(2), month = number(3), day = number(4);
  if (year < 1 || month < 1 || month > 12 || number(5) > 23 || number(6) > 59 || number(7) > 59) return {};
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  int days = month == 2 ? 28 + leap : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
  if (day < 1 || day > days) return {};
  auto fraction = parts[9].str();
  fraction.resize(9, '0');
  return quote(parts[1].str() + "." + fraction + "Z");
}

Text quoted(const Text& text) { return text ? Text(quote(*text)) : Text(); }

}  // namespace

Form::Form(spanwire::Type::Reader type) {
  many_ = type.getCode() == spanwire::TypeCode::ARRAY && type.hasArrayElement();
  scalar_ = scalar(many_ ? type.getArrayElement() : type);
}

Form::Scalar Form::scalar(spanwire::Type::Reader type) {
  if (type.getAnnotation() == spanwire::TypeAnnotation::PG_OID) return Scalar::integer;
  switch (type.getCode()) {
    case spanwire::TypeCode::BOOL: return Scalar::boolean;
    case spanwire::TypeCode::INT64:
    case spanwire::TypeCode::ENUM: return Scalar::integer;
    case spanwire::TypeCode::FLOAT64:
    case spanwire::TypeCode::FLOAT32: return Scalar::real;
    case spanwire::TypeCode::STRING:
    case spanwire::TypeCode::DATE:
    case spanwire::TypeCode::INTERVAL:
    case spanwire::TypeCode::UUID: return Scalar::text;
    case spanwire::TypeCode::NUMERIC: return Scalar::numeric;
    case spanwire::TypeCode::JSON: return Scalar::json;
    case spanwire::TypeCode::BYTES:
    case spanwire::TypeCode::PROTO: return Scalar::bytes;
    case spanwire::TypeCode::TIMESTAMP: return Scalar::timestamp;
    default: return Scalar::unknown;
  }
}

Text Form::read(const std::string& raw) const {
  if (!many_) return read(scalar_, raw);
  Scanner scanner(raw);
  if (!scanner.take('[')) return {};
  std::vector<std::string> found;
  if (scanner.take(']')) return bracketed(found);
  do {
    auto element = scanner.value();
    if (element == "null" || (scalar_ == Scalar::integer && element == "\"NULL\"")) {
      found.push_back("null");
    } else if (auto value = scalar_ == Scalar::unknown ? Text(quote(element)) : read(scalar_, element)) {
      found.push_back(*value);
    } else {
      return {};
    }
  } while (scanner.take(','));
  return bracketed(found);
}

Text Form::read(Scalar scalar, const std::string& raw) {
  switch (scalar) {
    case Scalar::boolean: return raw == "true" || raw == "false" ? Text(raw) : Text();
    case Scalar::integer: return integer(raw);
    case Scalar::real: return real(raw);
    case Scalar::text: return quoted(unquoted(raw));
    case Scalar::numeric: return is_number(raw) ? Text(quote(raw)) : quoted(unquoted(raw));
    case Scalar::json: return raw[0] == '"' ? quoted(unquoted(raw)) : Text(quote(raw));
    case Scalar::bytes: return bytes(raw);
    case Scalar::timestamp: return moment(raw);
    case Scalar::unknown: break;
  }
  return {};
}

Object typed(const std::string& text, const Role& role) {
  Object object;
  Scanner scanner(text);
  scanner.expect('{');
  if (scanner.take('}')) return object;
  do {
    auto name = unquoted(scanner.value());
    if (!name) throw std::runtime_error("JSON text with a name that is none");
    scanner.expect(':');
    auto raw = scanner.value();
    auto form = role.forms.find(*name);
    bool null = form != role.forms.end() && raw == "null";
    auto value = form == role.forms.end() || null ? Text() : form->second.read(raw);
    object.emplace(*name, null ? "null" : value ? *value : quote(raw));
  } while (scanner.take(','));
  return object;
}
