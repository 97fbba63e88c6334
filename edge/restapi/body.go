package restapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"

	"portico/shared/jsonvalue"
)

// readBody reads a request's body of at most limit bytes: JSON, which must be an object or an array, or a form. Without a
// body, or with one of another type, it is an empty object (management API 1.3). The error is a *failure.
func readBody(w http.ResponseWriter, r *http.Request, limit int) (jsonvalue.Value, error) {
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON, isForm := contentType == "application/json", contentType == "application/x-www-form-urlencoded"
	if r.Body == nil || r.Body == http.NoBody || !isJSON && !isForm {
		return jsonvalue.OfObject(), nil
	}
	if r.ContentLength > int64(limit) {
		w.Header().Set("Connection", "close")
		return jsonvalue.Value{}, errTooLarge
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return jsonvalue.Value{}, errTooLarge
	}
	switch {
	case err != nil:
		return jsonvalue.Value{}, errBadJSON
	case len(data) == 0:
		return jsonvalue.OfObject(), nil
	case isForm:
		return parseForm(string(data))
	}
	v, err := jsonvalue.Parse(bytes.TrimPrefix(data, []byte("\ufeff")), jsonvalue.Limits{})
	if err != nil || v.Kind() != jsonvalue.Object && v.Kind() != jsonvalue.Array {
		return jsonvalue.Value{}, errBadJSON
	}
	return v, nil
}
