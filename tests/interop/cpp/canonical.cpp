#include "canonical.h"

#include <kj/encoding.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace {

const std::string UNKNOWN = "\"unknown\"";
constexpr std::uint64_t NAN_BITS = 0x7ff8000000000000;

std::string text(capnp::Text::Reader reader) { return {reader.begin(), reader.size()}; }

template <typename Moment>
std::string moment(Moment at) {
  return timestamp(at.getSeconds(), at.getNanos());
}

template <typename List, typename Write>
std::string elements(capnp::Data::Reader nulls, List list, Write write) {
  std::vector<std::string> found;
  found.reserve(list.size());
  for (unsigned place = 0; place < list.size(); ++place) {
    bool null = place / 8 < nulls.size() && (nulls[place / 8] >> (place % 8) & 1);
    found.push_back(null ? "null" : write(list[place]));
  }
  return bracketed(found);
}

std::string array(spanwire::Array::Reader array) {
  auto nulls = array.getNulls();
  auto as_text = [](auto each) { return quote(text(each)); };
  auto as_number = [](auto each) { return written(each); };
  switch (array.which()) {
    case spanwire::Array::BOOL:
      return elements(nulls, array.getBool(), [](bool each) { return each ? "true" : "false"; });
    case spanwire::Array::INT64: return elements(nulls, array.getInt64(), as_number);
    case spanwire::Array::FLOAT64: return elements(nulls, array.getFloat64(), as_number);
    case spanwire::Array::TEXT: return elements(nulls, array.getText(), as_text);
    case spanwire::Array::BYTES: return elements(nulls, array.getBytes(), as_number);
    case spanwire::Array::TIMESTAMP:
      return elements(nulls, array.getTimestamp(), [](auto each) { return quote(moment(each)); });
    case spanwire::Array::JSON: return elements(nulls, array.getJson(), as_text);
  }
  return UNKNOWN;
}

std::string value(spanwire::Value::Reader cell) {
  switch (cell.which()) {
    case spanwire::Value::MISSING:
    case spanwire::Value::NULL_: return "null";
    case spanwire::Value::BOOL: return cell.getBool() ? "true" : "false";
    case spanwire::Value::INT64: return written(cell.getInt64());
    case spanwire::Value::FLOAT64: return written(cell.getFloat64());
    case spanwire::Value::TEXT: return quote(text(cell.getText()));
    case spanwire::Value::BYTES: return written(cell.getBytes());
    case spanwire::Value::TIMESTAMP: return quote(moment(cell.getTimestamp()));
    case spanwire::Value::ARRAY: return array(cell.getArray());
    case spanwire::Value::JSON: return quote(text(cell.getJson()));
  }
  return UNKNOWN;
}

/// A list may be shorter than its columns: what is not there is missing.
Object cells(capnp::List<spanwire::Value>::Reader list, const Role& role) {
  Object object;
  for (unsigned place = 0; place < list.size() && place < role.names.size(); ++place) {
    if (!list[place].isMissing()) object[role.names[place]] = value(list[place]);
  }
  return object;
}

std::string braced(const Object& object) {
  std::string out = "{";
  for (const auto& [name, value] : object) {
    if (out.size() > 1) out += ',';
    out += quote(name) + ":" + value;
  }
  return out + "}";
}

const char* mod_type(spanwire::DataChangeRecord::ModType of) {
  switch (of) {
    case spanwire::DataChangeRecord::ModType::INSERT: return "INSERT";
    case spanwire::DataChangeRecord::ModType::UPDATE: return "UPDATE";
    case spanwire::DataChangeRecord::ModType::DELETE: return "DELETE";
    default: return "UNKNOWN";
  }
}

}  // namespace

Canonical::Canonical(spanwire::Columns::Reader columns) : table_(text(columns.getTable())) {
  for (auto column : columns.getColumns()) {
    Role& role = column.getIsPrimaryKey() ? keys_ : rest_;
    role.names.push_back(text(column.getName()));
    role.forms[role.names.back()] = Form(column.getType());
  }
}

std::string Canonical::line(spanwire::DataChangeRecord::Reader record, spanwire::Mod::Reader mod) const {
  std::array<std::string, 3> written{UNKNOWN, UNKNOWN, UNKNOWN};
  if (mod.isTyped()) {
    auto typed = mod.getTyped();
    std::array<Object, 3> objects{cells(typed.getKeys(), keys_), cells(typed.getNewValues(), rest_),
                                  cells(typed.getOldValues(), rest_)};
    for (auto other : typed.getOthers()) {
      auto place = static_cast<std::size_t>(other.getPlace());
      if (place < objects.size()) objects[place].emplace(text(other.getName()), quote(text(other.getJson())));
    }
    for (std::size_t place = 0; place < objects.size(); ++place) written[place] = braced(objects[place]);
  } else if (mod.isJson()) {
    auto json = mod.getJson();
    written = {braced(typed(text(json.getKeys()), keys_)), braced(typed(text(json.getNewValues()), rest_)),
               braced(typed(text(json.getOldValues()), rest_))};
  }
  auto version = moment(record.getCommitTimestamp()) + "/" + text(record.getServerTransactionId()) + "/" +
                 text(record.getRecordSequence()) + "/" + std::to_string(mod.getNumber());
  return "{\"keys\":" + written[0] + ",\"mod_type\":\"" + mod_type(record.getModType()) +
         "\",\"new\":" + written[1] + ",\"old\":" + written[2] + ",\"table\":" + quote(table_) +
         ",\"version\":" + quote(version) + "}";
}

std::string written(std::int64_t number) { return "\"" + std::to_string(number) + "\""; }

std::string written(double number) {
  std::uint64_t bits = NAN_BITS;
  if (!std::isnan(number)) std::memcpy(&bits, &number, sizeof bits);
  char out[24];
  std::snprintf(out, sizeof out, "\"%016llx\"", static_cast<unsigned long long>(bits));
  return out;
}

std::string written(capnp::Data::Reader bytes) {
  auto text = kj::encodeBase64(bytes, false);
  return "\"" + std::string(text.begin(), text.size()) + "\"";
}

std::string timestamp(std::int64_t seconds, std::uint32_t nanos) {
  std::time_t at = seconds;
  std::tm date{};
  gmtime_r(&at, &date);
  char out[96];
  std::snprintf(out, sizeof out, "%04d-%02d-%02dT%02d:%02d:%02d.%09uZ", date.tm_year + 1900, date.tm_mon + 1,
                date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec, nanos);
  return out;
}

std::string quote(const std::string& text) {
  std::string out = "\"";
  out.reserve(text.size() + 2);
  for (unsigned char letter : text) {
    switch (letter) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\t': out += "\\t"; break;
      case '\n': out += "\\n"; break;
      case '\f': out += "\\f"; break;
      case '\r': out += "\\r"; break;
      default:
        if (letter < ' ') {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", letter);
          out += escape;
        } else {
          out += static_cast<char>(letter);
        }
    }
  }
  return out + "\"";
}

std::string bracketed(const std::vector<std::string>& elements) {
  std::string out = "[";
  for (const auto& element : elements) {
    if (out.size() > 1) out += ',';
    out += element;
  }
  return out + "]";
}
