package room

import (
	"slices"
	"strings"

	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// What the home of a room makes: its views and the choice of the loudest audio. The other edges follow what it says of them, and any of
// them goes on from there when it becomes the home.

// lost is a view as this edge left it when it was not the home any more.
type lost struct {
	revision uint64
	inputs   []string
}

// lead makes this edge the home or not any more. edge is who is then, as far as is known.
func (m *machine) lead(on bool, edge string) {
	if on == m.leads {
		return
	}
	m.leads = on
	for _, v := range m.views {
		if on {
			m.takeOver(v)
		} else {
			v.lost = &lost{v.revision, v.inputs}
			m.withdraw(MixEntry, v.stream.ID)
			m.follow(v.config.Label, &v.edge, edge)
		}
	}
	if m.selected == nil {
		return
	}
	for i := range m.selected {
		s := &m.selected[i]
		if on {
			s.generation++
			m.announceSelected(s)
		} else {
			m.withdraw(MixEntry, s.ID)
		}
	}
	if !on {
		m.follow("", &m.chooser, edge)
		return
	}
	m.chooser = ""
	m.effects = append(m.effects, effect{follow: new(string)})
	for _, p := range m.streams {
		if p.ready {
			m.offerAudio(p)
		}
	}
}

// unseenTurns is more than how often a room's home can have changed without this edge being told.
const unseenTurns = 1 << 16

// resign has this edge be the home no more, because others may have been since. What it makes when it is the home again goes before what
// they have made, of which it knows nothing; and they ask for what is missing then (reclaim).
func (m *machine) resign() {
	m.lead(false, "")
	for _, v := range m.views {
		v.generation += unseenTurns
	}
	for i := range m.selected {
		m.selected[i].generation += unseenTurns
	}
}

// follow says where a view is made from now on, or, without a label, where the loudest audio is chosen.
func (m *machine) follow(label string, at *string, edge string) {
	if edge == "" || *at == edge {
		return
	}
	*at = edge
	m.effects = append(m.effects, effect{view: label, follow: &edge})
}

// takeOver goes on with a view where the home before left it.
func (m *machine) takeOver(v *view) {
	v.edge, v.lost, v.loudest = "", nil, ""
	v.generation++
	v.base = v.revision
	known := func(id string) bool { p := m.publication(id); return p != nil && p.ready }
	v.inputs = slices.DeleteFunc(slices.Clone(v.inputs), func(id string) bool { return !known(id) })
	v.places = v.arranged(slices.DeleteFunc(slices.Clone(v.shown), func(id string) bool { return !known(id) }))
	for _, p := range m.streams {
		m.relabel(p)
	}
	if active := v.stream.ActiveInput; active != unknown && !slices.Contains(v.inputs, active) {
		v.stream.ActiveInput = unknown
	}
	m.mixed(v)
}

// arranged is the arrangement of a view in which the streams have the places that were told last; shown are its inputs with video in the
// order of their places.
func (v *view) arranged(shown []string) layout.Arrangement {
	a := v.empty
	if !v.fixed {
		for _, id := range shown {
			a = a.Add(id)
		}
		return a
	}
	for _, id := range v.inputs { // those that a layout does not name are placed in the order of mixing
		if slices.Contains(shown, id) {
			a = a.Add(id)
		}
	}
	set, err := a.Set(seating(v.scene, shown))
	if err != nil { // another version's idea of a layout
		return a
	}
	return set
}

// seating is a layout with the streams in its regions, in their order and as many as there is room for.
func seating(scene layout.Scene, streams []string) layout.Scene {
	scene = slices.Clone(scene)
	for i := range scene {
		scene[i].Stream = ""
		if i < len(streams) {
			scene[i].Stream = streams[i]
		}
	}
	return scene
}

// announceMix tells the other edges all of a view.
func (m *machine) announceMix(v *view) {
	if !m.clustered || !m.leads {
		return
	}
	v.revision++
	v.shown = v.places.Inputs()
	s := mixState{
		inputs: v.inputs, shown: v.shown, fixed: v.fixed, scene: v.scene, origin: v.stream.Origin, resets: v.resets,
		revision: v.revision, base: v.base,
	}
	if v.stream.ActiveInput != unknown {
		s.active = v.stream.ActiveInput
	}
	m.put(Key{MixEntry, v.stream.ID}, v.generation, s.encode())
}

func (m *machine) announceSelected(s *selectedStream) {
	if m.clustered && m.leads {
		m.put(Key{MixEntry, s.ID}, s.generation, selectedState{s.ActiveInput, s.major}.encode())
	}
}

// madeThere is what another edge says of something that the home makes. An edge that thinks it is the home, too, is outbid.
func (m *machine) madeThere(n *news) {
	if i := m.selectedIndex(n.key.ID); i >= 0 && n.mix == nil {
		s := &m.selected[i]
		if !m.leads {
			m.selectedThere(s, n)
		} else if n.generation >= s.generation {
			s.generation = n.generation + 1
			m.announceSelected(s)
		}
		return
	}
	v := m.viewOf(n.key.ID)
	switch {
	case v == nil || n.mix == nil:
	case !m.leads:
		m.mixThere(v, n)
	case n.generation >= v.generation:
		v.generation = n.generation + 1
		m.announceMix(v)
	}
}

// mixThere takes a view as its home has it.
func (m *machine) mixThere(v *view, n *news) {
	s := n.mix
	v.generation, v.revision, v.base = n.generation, s.revision, s.base
	v.shown, v.fixed, v.resets, v.stream.Origin = s.shown, s.fixed, s.resets, s.origin
	m.began = true
	m.follow(v.config.Label, &v.edge, n.owner)
	m.reclaim(v, s)
	if !slices.Equal(v.inputs, s.inputs) {
		v.inputs = s.inputs
		for _, p := range m.streams {
			m.relabel(p)
		}
	}
	active := s.active
	if active == "" {
		active = unknown
	}
	if v.stream.ActiveInput != active {
		v.stream.ActiveInput = active
		if active != unknown {
			m.tellStreams(portalproto.StreamUpdated{ID: v.stream.ID, Field: portalproto.FieldActiveInput, Value: jsonvalue.Of(active)})
		}
	}
	m.retell(v, s.scene)
}

// reclaim asks the new home for what was mixed here while neither knew of the other: whose directory outlives a partition, nobody of the
// other side shall notice.
func (m *machine) reclaim(v *view, s *mixState) {
	was := v.lost
	v.lost = nil
	if was == nil || s.base >= was.revision {
		return
	}
	for _, id := range was.inputs {
		if p := m.publication(id); p != nil && !slices.Contains(s.inputs, id) {
			m.effects = append(m.effects, effect{ask: &command{op: opControl, here: true, control: portalproto.StreamControl{
				ID: id, Operation: portalproto.Mix, View: v.config.Label,
			}}})
		}
	}
}

// relabel makes a stream's InViews what the views say, without changing the order of those that stay.
func (m *machine) relabel(p *publication) {
	in := func(label string) bool {
		v := m.viewNamed(label)
		return v != nil && slices.Contains(v.inputs, p.stream.ID)
	}
	labels := slices.DeleteFunc(slices.Clone(p.stream.InViews), func(label string) bool { return !in(label) })
	for _, v := range m.views {
		if label := v.config.Label; in(label) && !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	p.stream.InViews = labels
}

func (m *machine) selectedThere(s *selectedStream, n *news) {
	m.follow("", &m.chooser, n.owner)
	s.generation = n.generation
	if s.ActiveInput == n.selected.active && s.major == n.selected.major {
		return
	}
	s.ActiveInput, s.major = n.selected.active, n.selected.major
	m.tellSelected(s)
}

// isSelected tells whether an entry of a mix is of a stream of the loudest audio. No view's stream is called so: those begin with the id
// of their room.
func isSelected(id string) bool { return strings.HasPrefix(id, selectedPrefix) }
