package restapi

import (
	"errors"
	"io"
	"net/http"

	"portico/shared/jsonvalue"
)

// A failure is an error as the caller sees it (management API 3).
type failure struct {
	status, code int
	message      string
}

func (f *failure) Error() string { return f.message }

var (
	errNoPath         = &failure{http.StatusNotFound, 1001, "Resource not found"}
	errNoService      = &failure{http.StatusNotFound, 1002, "Service not found"}
	errNoRoom         = &failure{http.StatusNotFound, 1003, "Room not found"}
	errNoStream       = &failure{http.StatusNotFound, 1004, "Stream not found"}
	errNoParticipant  = &failure{http.StatusNotFound, 1005, "Participant not found"}
	errUnauthorized   = &failure{http.StatusUnauthorized, 1101, `WWW-Authenticate: MAuth realm="http://marte3.dit.upm.es"`}
	errForbidden      = &failure{http.StatusForbidden, 1102, "Permission denied"}
	errBadJSON        = badRequest("Failed to parse JSON body")
	errBadRoomBody    = badRequest("Invalid request body")
	errBadRoomOption  = badRequest("Invalid room option")
	errServiceStrings = badRequest("Service name and key do not have string type")
	errNameOrRole     = badRequest("Name or role not valid")
	errBadRequest     = badRequest("Bad request")
	errOperation      = &failure{http.StatusInternalServerError, 1301, "Operation failed"}
	errNoPortal       = &failure{http.StatusInternalServerError, 1301, "Failed to get portal"}
	errTooLarge       = unexpected("PayloadTooLargeError request entity too large")
	errManyParameters = unexpected("PayloadTooLargeError too many parameters")
	errServiceExists  = unexpected("MongoServerError E11000 duplicate key error collection: owtdb.services")
	errRoomExists     = unexpected("MongoServerError E11000 duplicate key error collection: owtdb.rooms")
	errNotImplemented = unexpected("Not implemented")
	errStore          = unexpected("Error Database operation failed")
	errAway           = &failure{http.StatusServiceUnavailable, 2001, "Error The database does not answer: try again later"}
)

// badRequest is the caller's fault; unexpected is the code that the API uses for everything it has no other code for.
func badRequest(text string) *failure { return &failure{http.StatusBadRequest, 1201, text} }
func unexpected(text string) *failure { return &failure{http.StatusInternalServerError, 2001, text} }

// writeError answers with an error. One that is not a failure is ours, and its text is not for the caller.
func writeError(w http.ResponseWriter, err error) {
	f := errStore
	errors.As(err, &f)
	body := jsonvalue.OfObject(jsonvalue.M("error", jsonvalue.OfObject(
		jsonvalue.M("code", jsonvalue.OfInt(int64(f.code))),
		jsonvalue.M("message", jsonvalue.Of(f.message)),
	)))
	reply(w, f.status, jsonType, body.Append(nil))
}

const (
	jsonType  = "application/json; charset=utf-8"
	textType  = "text/html; charset=utf-8"
	plainType = "text/plain; charset=utf-8"
)

// reply writes a whole response. A caller who has gone is noticed by the server, not here.
func reply(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(body)
}

// An answer writes the response of a call that succeeded. An error means that nothing has been written yet.
type answer func(http.ResponseWriter) error

func jsonAnswer(v jsonvalue.Value) (answer, error) {
	return func(w http.ResponseWriter) error {
		reply(w, http.StatusOK, jsonType, v.Append(nil))
		return nil
	}, nil
}

// emptyAnswer is what is said of something that is no more.
func emptyAnswer() (answer, error) {
	return func(w http.ResponseWriter) error {
		w.WriteHeader(http.StatusOK)
		return nil
	}, nil
}

func textAnswer(status int, text string) (answer, error) {
	return func(w http.ResponseWriter) error {
		w.Header().Set("Content-Type", textType)
		w.WriteHeader(status)
		io.WriteString(w, text)
		return nil
	}, nil
}
