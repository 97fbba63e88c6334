package roster

import (
	"fmt"
	"strings"
	"testing"
)

func TestRegister(t *testing.T) {
	var r Register
	if r.Len() != 0 || r.Last() != 0 || r.Since(0) != nil {
		t.Errorf("an empty one: %d, %d, %v", r.Len(), r.Last(), r.Since(0))
	}
	use := func(i int) Use { return Use{Token: fmt.Sprint("t", i), Request: "r", Created: int64(i)} }
	for i := 1; i <= 10; i++ {
		if !r.Add(use(i), 0) || r.Add(use(i), 0) {
			t.Fatalf("use %d", i)
		}
	}
	if got := r.Since(7); len(got) != 3 || got[0] != use(8) || r.Since(10) != nil || r.Since(11) != nil || len(r.Since(0)) != 10 {
		t.Errorf("since 7: %v", got)
	}
	// What is too old is forgotten, and the numbers go on.
	if !r.Add(use(11), 9) || r.Len() != 3 || r.Last() != 11 || len(r.Since(0)) != 3 || len(r.Since(10)) != 1 {
		t.Errorf("%d of %d: %v", r.Len(), r.Last(), r.Since(0))
	}
	if !r.Add(use(1), 0) {
		t.Error("one that was forgotten is not new")
	}
	for i := range 3 * maxUses {
		r.Add(use(100+i), 0)
	}
	if r.Len() != maxUses || len(r.known) != maxUses || r.Last() != 12+3*maxUses || len(r.Since(r.Last()-5)) != 5 {
		t.Errorf("%d remembered, %d known, last %d", r.Len(), len(r.known), r.Last())
	}
	if r.Forget(1 << 40); r.Len() != 0 || len(r.known) != 0 || r.Since(0) != nil || r.Last() != 12+3*maxUses {
		t.Errorf("after all are too old: %d, %d known", r.Len(), len(r.known))
	}
	for _, bad := range []Use{{}, {Token: strings.Repeat("t", MaxID+1)}, {Token: "t", Request: strings.Repeat("r", MaxID+1)}} {
		if r.Add(bad, 0) {
			t.Errorf("%.40v is taken", bad)
		}
	}
}
