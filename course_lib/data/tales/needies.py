"""Who needs help in the tales, what trouble they are in, and what a kind hero does about it.

``class`` says which troubles fit. Those marked ``plural`` are "they" and ask "help us". A bar parts present and past
of a verb: ``cut|cut the net``.
"""

from __future__ import annotations

NEEDIES = """
class: bird
who: raven; heron; pelican; swan; robin; wren; tern; kingfisher; swallow; lark; blackbird; sparrow; falcon; parakeet
who: young magpie; young chough; young bittern; young falcon; desert lark; snow goose; snowy owl; hornbill

class: beast
who: fawn; piglet; kitten; puppy; lamb; calf; colt; leveret; young ibex; young camel; young gibbon

class: swimmer
who: young dolphin; young whale

class: person
who: woodcutter; tinker; sailor; old diver; mountaineer; pedlar; old woman; beggar; postman; fiddler; ferryman
who: old angler; old pirate; pearl diver; old nomad; old gardener; old captain; stowaway; old shepherd; old jester
who: minstrel; prisoner; kitchen maid; lost child; old witch; old hunter; explorer; old hermit; flower seller
who: old clown; violinist

class: small
plural: yes
who: three squirrel pups; two ducklings; two turtle hatchlings; seven bees; two fox cubs; three bear cubs

class: people
plural: yes
who: three lost hikers; two small children; two lost travellers; three cabin boys; two pages; two acrobats
"""

TROUBLES = """
class: bird
trouble: with a broken wing
helps: bind|bound the wing with grass; splint|splinted the wing with a twig
trouble: tangled in an old net
helps: cut|cut the net knot by knot; bite|bit through the strings
trouble: too cold to sing
helps: light|lit a small fire; share|shared a scarf
trouble: blown far from home by the storm
helps: point|pointed out the way south; offer|offered a dry corner for the night
trouble: caught in a thorn bush
helps: bend|bent back the thorns; pick|picked off the thorns one by one
trouble: weak with hunger
helps: crumble|crumbled the last of the bread; dig|dug up a few fat worms

class: beast
trouble: stuck in a deep hole
helps: lower|lowered a branch; dig|dug a slope to climb out by
trouble: shivering in the cold
helps: make|made a bed of dry leaves; give|gave up a warm scarf
trouble: with a thorn in one foot
helps: pull|pulled out the thorn; wash|washed the foot in clean water
trouble: crying for its mother
helps: look|looked for the mother everywhere; hum|hummed a lullaby and stayed
trouble: tied to a post with a rusty chain
helps: file|filed through the chain; find|found the key under a stone
trouble: caught under a fallen branch
helps: lift|lifted the branch; roll|rolled the branch away

class: swimmer
trouble: stranded by the tide
helps: carry|carried water until the tide came back; push|pushed with might and main
trouble: wound up in a fishing line
helps: unpick|unpicked the line; cut|cut the line with a sharp shell
trouble: with a hook in one fin
helps: work|worked the hook loose; snap|snapped the hook in two

class: person
trouble: with a twisted ankle
helps: cut|cut a walking stick; give|gave a shoulder to lean on
trouble: who had lost a purse
helps: search|searched until the purse was found; lend|lent a little money
trouble: whose cart had lost a wheel
helps: mend|mended the wheel; fetch|fetched a hammer and nails
trouble: who had not eaten for two days
helps: share|shared the last of the bread; cook|cooked a pot of soup
trouble: bent under a load of firewood
helps: carry|carried half the load; take|took the heaviest logs
trouble: soaked to the skin
helps: dry|dried the wet clothes; lend|lent a blanket
trouble: who could not find the way home
helps: draw|drew a map in the dust; lead|led the way with a lamp

class: small
trouble: who had lost their mother
helps: follow|followed the mother's tracks; comb|combed the place until dark
trouble: trapped in a glass jar
helps: unscrew|unscrewed the lid; tip|tipped over the jar
trouble: washed out of their nest by the rain
helps: build|built a new nest; find|found a dry hollow
trouble: too tired to go on
helps: pull|pulled them along on a leaf; keep|kept watch while they slept

class: people
trouble: who had missed the last coach
helps: offer|offered a bed for the night; hitch|hitched up a cart
trouble: quarrelling over one torn blanket
helps: sew|sewed up the blanket; tell|told a story until they laughed
trouble: chased up a tree by a bull
helps: lead|led the bull away with a carrot; wave|waved a red cloth and ran
trouble: lost without a lamp
helps: light|lit the way home; show|showed the way by the stars
"""
